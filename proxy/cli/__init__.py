"""The command `litellm-local`. Each group of commands is a module here, loaded when it is asked for."""

from __future__ import annotations

import importlib
import sys

import click

from proxy import __version__

# command -> (module:attribute, one line of help). Here, so that `--help` need not import them all.
COMMANDS = {
    "up": ("proxy.cli.up:up", "Bring the whole service up and prove it."),
    "down": ("proxy.cli.stack:down", "Stop the service; its data stays."),
    "status": ("proxy.cli.stack:status", "What runs, where, in which mode."),
    "logs": ("proxy.cli.stack:logs", "Show what the services wrote."),
    "env": ("proxy.cli.stack:env", "Print variables that point a client at the service."),
    "smoke": ("proxy.cli.smoke:smoke", "Prove a running deployment."),
    "drill": ("proxy.cli.drill:drill", "Take every fallback chain through every kind of fault."),
    "bench": ("proxy.cli.bench:bench", "Measure how many requests a minute the service answers here."),
    "double": ("proxy.cli.double:double", "Script what the simulated providers answer; see what they were asked."),
    "config": ("proxy.cli.config:config", "Check, show and render config/proxy.yaml."),
    "doctor": ("proxy.cli.doctor:doctor", "Check this machine and say what to mend."),
    "backup": ("proxy.cli.backup:backup", "Write the database to a file."),
    "restore": ("proxy.cli.backup:restore", "Replace the database by what a backup holds."),
    "keys": ("proxy.cli.keys:keys", "New keys and passwords in place of the old ones."),
    "upgrade": ("proxy.cli.upgrade:upgrade", "Bring the containers to a new image, or back where that fails."),
    "migrate": ("proxy.cli.migrate:migrate", "Apply LiteLLM's migrations to a database."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on first use: `status` should not pay for `config`'s imports."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="litellm-local")
def cli() -> None:
    """A self-hosted LiteLLM proxy: eight models, fallback chains, limits, real Postgres."""


def main() -> None:
    """Runs the command; whatever goes wrong reaches the user as one readable message."""
    from proxy.cli.errors import report_unexpected, user_errors

    try:
        code = cli(standalone_mode=False)  # what a command's Exit carries, else None
        sys.exit(code or 0)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `litellm-local logs | head`
        sys.stderr.close()
        sys.exit(0)
    except user_errors() as error:
        click.echo(f"litellm-local: {error}", err=True)
        sys.exit(1)
    except Exception as error:
        report_unexpected(error)
        sys.exit(1)
