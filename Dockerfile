# A static binary in an empty image: nothing else to run, to update or to break into.
# tests/cluster/check-image.sh checks what can be checked without building it.
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
# The C library is linked in. With --target, so that what runs while building is not linked like that.
RUN host=$(rustc -vV | sed -n 's/^host: //p') \
    && RUSTFLAGS='-C target-feature=+crt-static' \
       cargo build --release --locked --bin llmisvc-webhook --target "$host" \
    && mv "target/$host/release/llmisvc-webhook" /

FROM scratch
COPY --from=build /llmisvc-webhook /llmisvc-webhook
# No account of that number exists in the image or on a node.
USER 65532:65532
EXPOSE 8443 9090
ENTRYPOINT ["/llmisvc-webhook"]
CMD ["serve"]
