"""The suites' programs, built by Go from fixed versions into build/conformance/bin."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.source import ROOT

BIN = ROOT / "build" / "conformance" / "bin"
NETHTTP = Path(__file__).parent / "nethttp"
GO_MINIMUM = (1, 24)  # what grpc-go and the conformance module ask for, and net/http's cleartext HTTP/2

GRPC = "google.golang.org/grpc", "v1.85.0"
CONNECT = "connectrpc.com/conformance", "v1.0.5"
GRPCURL = "github.com/fullstorydev/grpcurl", "v1.9.4"
GHZ = "github.com/bojand/ghz", "v0.120.0"

# Name in BIN: module, its version, package in it.
PROGRAMS = {
    "interop-client": (*GRPC, "interop/client"),
    "interop-server": (*GRPC, "interop/server"),
    "connectconformance": (*CONNECT, "cmd/connectconformance"),
    "referenceclient": (*CONNECT, "cmd/referenceclient"),
    "referenceserver": (*CONNECT, "cmd/referenceserver"),
    "grpcclient": (*CONNECT, "cmd/grpcclient"),
    "grpcserver": (*CONNECT, "cmd/grpcserver"),
    "grpcurl": (*GRPCURL, "cmd/grpcurl"),
    "ghz": (*GHZ, "cmd/ghz"),
}


def _go() -> str:
    found = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin:/usr/lib/go/bin")
    if found is None:
        sys.exit("the conformance suites need Go: https://go.dev/doc/install")
    shown = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    version = tuple(int(part) for part in shown.removeprefix("go").split("-")[0].split(".")[:2])
    if version < GO_MINIMUM:
        sys.exit(f"the conformance suites need Go {'.'.join(map(str, GO_MINIMUM))} or newer; {found} is {shown}")
    return found


def _install(go: str, name: str) -> None:
    """`go install` names a program after its folder, so each is built in a folder of its own and moved."""
    module, version, package = PROGRAMS[name]
    stamp = BIN / f"{name}.version"
    if stamp.exists() and stamp.read_text() == version and (BIN / name).exists():
        return
    print(f"building {module}/{package}@{version}", flush=True)
    own = BIN / f"{name}.new"
    subprocess.run(
        [go, "install", f"{module}/{package}@{version}"], check=True, cwd=BIN, env={**os.environ, "GOBIN": str(own)}
    )
    (own / Path(package).name).rename(BIN / name)
    own.rmdir()
    stamp.write_text(version)


def versions() -> dict[str, str]:
    """Of everything that took part."""
    shown = subprocess.run([_go(), "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    return {"go": shown, **dict((GRPC, CONNECT, GRPCURL, GHZ))}


def build() -> None:
    """Builds what is missing. Go keeps what it compiled, so the programs of this repository are cheap to build anew."""
    go = _go()
    BIN.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        _install(go, name)
    subprocess.run([go, "build", "-o", str(BIN / "nethttp"), "."], cwd=NETHTTP, check=True)


def module_files(module: tuple[str, str]) -> Path:
    """Where Go keeps a module's files: the conformance module's protocol descriptions are there."""
    shown = subprocess.run(
        [_go(), "mod", "download", "-json", "@".join(module)], capture_output=True, text=True, check=True, cwd=BIN
    )
    return Path(json.loads(shown.stdout)["Dir"])
