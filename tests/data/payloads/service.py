"""Services that refuse, are not there, or have other names; URL is a local server's."""

import os
import socket
import subprocess
import sys
import urllib.request

from usual import train

URL = os.environ.get("URL", "")


def ask(path="/api/runs"):
    train(5)
    urllib.request.urlopen(URL + path)


def ask_requests():
    import requests

    train(5)
    requests.get(URL + "/api/runs", timeout=5).raise_for_status()


def hub():
    import huggingface_hub

    huggingface_hub.hf_hub_download("example/llama-tiny", "config.json")


def offline():
    import transformers

    transformers.AutoConfig.from_pretrained("example/llama-tiny")


def refused():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    train(5)
    urllib.request.urlopen(f"http://127.0.0.1:{port}/api/runs")


def refused_requests():
    import requests

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    train(5)
    requests.post(f"http://127.0.0.1:{port}/api/runs", json={}, timeout=5)


def refused_grpc():
    import grpc

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    train(5)
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    channel.unary_unary("/cluster.Management/GetJob")(b"", timeout=5)


def no_such_host():
    train(5)
    urllib.request.urlopen("http://tracker.invalid/api/runs")


def slow():
    train(5)
    urllib.request.urlopen(URL + "/slow", timeout=1)


def cut_off():
    train(5)
    urllib.request.urlopen(URL + "/cut").read()


def clone():
    subprocess.run(["git", "clone", URL + "/team/recipes.git"], check=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
