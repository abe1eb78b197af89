# syntax=docker/dockerfile:1
# One image for every role. Data live in /data: mount a volume there, and run one container per volume.
FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/usageflow && python -m pip install --no-cache-dir uv==0.13.9
COPY pyproject.toml requirements.lock ./
COPY gen/python gen/python
COPY src src
COPY examples examples
COPY spec spec
# The lock pins versions and hashes; only what the server itself needs is installed of it.
RUN uv pip install --python /opt/usageflow/bin/python --compile-bytecode --no-sources \
      --constraint requirements.lock ./gen/python .

FROM python:3.12-slim
COPY --from=build /opt/usageflow /opt/usageflow
RUN useradd --system --uid 10001 usageflow && install -d -o usageflow -m 700 /data
USER usageflow
ENV PATH=/opt/usageflow/bin:$PATH \
    USAGEFLOW_DATA=/data \
    USAGEFLOW_LISTEN=0.0.0.0:50051 \
    USAGEFLOW_HTTP_LISTEN=0.0.0.0:50052 \
    # Plaintext inside the container's network: publish the ports on 127.0.0.1, or keep them on a private network.
    USAGEFLOW_INSECURE=1
VOLUME /data
EXPOSE 50051 50052
HEALTHCHECK --interval=10s --timeout=2s --start-period=10s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:50052/readyz', timeout=1)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["usageflow"]
CMD ["serve"]
