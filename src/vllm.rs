//! vllm
