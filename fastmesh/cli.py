"""The command `fastmesh`: arguments only. What a command does is imported when it is the one asked for."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fastmesh import __version__

if TYPE_CHECKING:
    import argparse


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Runs one command and answers its exit code: 0, 64 for a wrong configuration, else what the command says."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    given = dict(os.environ if environ is None else environ)
    if words == ["run"]:
        # The parser is 0.7 MB that the process which stays would pay for as long as it lives.
        return _run(None, given)
    options = _parser().parse_args(words)
    if getattr(options, "config", None):
        given["FASTMESH_CONFIG"] = options.config
    code: int = options.command(options, given)
    return code


def _parser() -> "argparse.ArgumentParser":
    import argparse

    parser = argparse.ArgumentParser(
        prog="fastmesh",
        description="A service-mesh sidecar proxy. One variable is enough: FASTMESH_UPSTREAM=HOST:PORT fastmesh run",
        epilog="Every setting is a variable; 'fastmesh env' lists them all.",
    )
    parser.add_argument("--version", action="version", version=f"fastmesh {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    file = argparse.ArgumentParser(add_help=False)
    file.add_argument("--config", metavar="FILE", help="a configuration file, as FASTMESH_CONFIG names one")

    run = commands.add_parser("run", parents=[file], help="run the proxy in the foreground until SIGTERM or SIGINT")
    run.set_defaults(command=_run)
    check = commands.add_parser("check", parents=[file], help="say all that is wrong with configuration and machine")
    check.add_argument("--schema", action="store_true", help="print the JSON schema of the file instead")
    check.set_defaults(command=_check)
    env = commands.add_parser("env", parents=[file], help="every setting: type, unit, default, value, source")
    form = env.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="as JSON")
    form.add_argument("--markdown", dest="form", action="store_const", const="markdown", help="the documentation page")
    env.set_defaults(command=_env)
    _add_redirect(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(command=_version)
    return parser


def _add_redirect(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    import argparse

    from fastmesh.config.redirect import add_options

    about = "bring this machine's TCP connections to fastmesh by rules of the kernel"
    redirect = commands.add_parser("redirect", help=about, description=about, epilog="Every option is a variable too: "
                                   "--outbound-port is FASTMESH_REDIRECT_OUTBOUND_PORT.")  # fmt: skip
    actions = redirect.add_subparsers(title="actions", required=True, metavar="ACTION", dest="action")
    shared = argparse.ArgumentParser(add_help=False)
    add_options(shared)
    actions.add_parser("plan", parents=[shared], help="print the rules")
    apply = actions.add_parser("apply", parents=[shared], help="put the rules in place of those that are there")
    apply.add_argument("--dry-run", action="store_true", help="only print what would be done now")
    show = actions.add_parser("show", parents=[shared], help="what is intercepted now")
    show.add_argument("--json", action="store_true", help="as JSON")
    actions.add_parser("remove", parents=[shared], help="remove every rule of fastmesh")
    redirect.set_defaults(command=_redirect)


def _run(options: "argparse.Namespace | None", environ: Mapping[str, str]) -> int:
    from fastmesh import app

    return app.run(environ)


def _check(options: "argparse.Namespace", environ: Mapping[str, str]) -> int:
    from fastmesh import check

    return check.print_schema() if options.schema else check.run(environ)


def _env(options: "argparse.Namespace", environ: Mapping[str, str]) -> int:
    from fastmesh.config.render import print_env

    return print_env(environ, options.form or "table")


def _redirect(options: "argparse.Namespace", environ: Mapping[str, str]) -> int:
    from fastmesh import redirect
    from fastmesh.config.redirect import BY_OPTION

    given = {name: text for name in BY_OPTION if (text := getattr(options, name)) is not None}
    if options.action == "plan":
        return redirect.plan(environ, given)
    if options.action == "apply":
        return redirect.apply(environ, given, options.dry_run)
    if options.action == "show":
        return redirect.show(environ, given, options.json)
    return redirect.remove(environ, given)


def _version(options: "argparse.Namespace", environ: Mapping[str, str]) -> int:
    sys.stdout.write(f"fastmesh {__version__}\n")
    return 0
