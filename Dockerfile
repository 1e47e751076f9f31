# syntax=docker/dockerfile:1
# One image for all roles: `docker run millrace control-plane`, `router`, `deliverer`, `migrate`.
# Dependencies are layers of their own, built anew only when Cargo.lock or a manifest changes.

FROM rust:1.95-bookworm AS chef
# The toolchain of the image, whatever rust-toolchain.toml would add for developers.
ENV RUSTUP_TOOLCHAIN=1.95.0 CARGO_TERM_COLOR=never
RUN cargo install --locked cargo-chef@0.1.78
WORKDIR /src

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path /recipe.json --bin millrace

FROM chef AS build
# Set it to the time of the commit, and two builds of it are the same.
ARG SOURCE_DATE_EPOCH
COPY --from=plan /recipe.json /recipe.json
RUN cargo chef cook --release --locked --package millrace --recipe-path /recipe.json
COPY Cargo.toml Cargo.lock ./
COPY libs libs
COPY proto proto
COPY services services
COPY tests tests
RUN cargo build --release --locked --package millrace \
    && cp target/release/millrace /millrace

# glibc, libgcc, certificate authorities, and nothing else: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="Millrace" \
      org.opencontainers.image.description="Event streams for a platform's accounts, delivered at least once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /millrace /usr/local/bin/millrace
USER 65532:65532
EXPOSE 8080 8081 8082 9080 9081 9082
ENTRYPOINT ["/usr/local/bin/millrace"]
CMD ["--help"]
