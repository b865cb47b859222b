# A static binary in an empty image: nothing else to run, to update or to break into.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
RUN cargo build --release --locked --bin llmisvc-webhook

FROM scratch
COPY --from=build /src/target/release/llmisvc-webhook /llmisvc-webhook
# No account of that number exists in the image or on a node.
USER 65532:65532
EXPOSE 8443 9090
ENTRYPOINT ["/llmisvc-webhook"]
CMD ["serve"]
