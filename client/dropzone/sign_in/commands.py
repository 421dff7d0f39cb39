"""`dropzone login`, `dropzone logout` and `dropzone whoami`."""

import os
import sys
from typing import Annotated

import typer

from dropzone import DEFAULT_URL, AsyncClient, Forbidden, Unauthenticated, Unavailable, Unreachable
from dropzone.command import output
from dropzone.command.exit_codes import EXIT_CODES, ExitCode, print_error, run
from dropzone.command.options import Key, Url, check_url, connect, opened
from dropzone.encoding import format_time
from dropzone.sign_in import oauth, saved_sign_ins

SECRET_VARIABLE = "DROPZONE_LOGIN_SECRET"  # noqa: S105 - the name of a variable
EPILOG = (
    f"If {SECRET_VARIABLE} is set, the command signs in as a service, with client credentials. Otherwise, it prints an "
    f"address and a code: to sign in, open the address in any browser and confirm the code. {EXIT_CODES}"
)


def login(
    *,
    issuer: Annotated[str, typer.Option(help="The identity provider. Default: the first provider of the server.")] = "",
    client_id: Annotated[
        str, typer.Option(help="The client id at the provider. Default: the client id that the server provides.")
    ] = "",
    scope: Annotated[
        str, typer.Option(help="Scopes to request, separated by spaces. Default: all scopes of the server.")
    ] = "",
    url: Url = DEFAULT_URL,
) -> None:
    """Sign in to a server with its identity provider, and save the tokens for the other commands."""
    check_url(url)
    run(_login(url, issuer or None, client_id, scope))


def logout(*, url: Url = DEFAULT_URL) -> None:
    """Remove the saved tokens for a server, and revoke them at the identity provider."""
    check_url(url)
    run(_logout(url))


def whoami(
    *,
    is_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Print which submitter you are, your scopes, and when your key or sign-in expires."""
    run(_whoami(connect(url, key), is_json=is_json))


async def _login(url: str, issuer: str | None, client_id: str, scope: str) -> ExitCode:
    try:
        await _sign_in(url, issuer, client_id, scope)
    except (Unauthenticated, Forbidden) as error:
        return print_error(error, takes_key=False)
    return ExitCode.DONE


async def _sign_in(url: str, issuer: str | None, client_id: str, scope: str) -> None:
    provider = await oauth.find_provider(url, issuer)
    client_id = client_id or provider.client_id or ""
    if not client_id:
        raise Unauthenticated("the server does not provide a client id; pass --client-id")
    secret = os.environ.get(SECRET_VARIABLE)
    scopes = scope or " ".join(provider.scopes)
    if secret:
        of_program = " ".join(each for each in scopes.split() if each != "offline_access")
        signed_in = await oauth.sign_in_as_program(provider, client_id, secret, of_program)
    else:
        signed_in = await oauth.sign_in_by_device(provider, client_id, scopes, _show)
    async with AsyncClient(url, token=signed_in.access_token) as client:
        try:
            identity = await client.whoami()
        except Unauthenticated:  # its message is about keys, too
            raise Unauthenticated(
                f"{url} does not accept the token of {provider.issuer}, for example because of its audience or type; "
                "the log of the API says why"
            ) from None
    saved_sign_ins.write(url, signed_in)
    typer.echo(f"signed in as {identity.submitter} with the scopes {', '.join(identity.scopes)}", err=True)


def _show(address: str, code: str) -> None:
    sys.stderr.write(output.printable(f"open {address} and confirm the code {code}\n"))
    sys.stderr.flush()


async def _logout(url: str) -> ExitCode:
    signed_in = saved_sign_ins.read(url)
    saved_sign_ins.write(url, None)
    if signed_in is not None:
        try:
            await oauth.revoke(signed_in)
        except (Unavailable, Unreachable) as error:
            typer.echo(f"warning: the tokens are deleted on this machine, but they are not revoked: {error}", err=True)
    return ExitCode.DONE


async def _whoami(client: AsyncClient, *, is_json: bool) -> ExitCode:
    async with opened(client):
        identity = await client.whoami()
    if is_json:
        output.print_line(output.to_json(identity))
        return ExitCode.DONE
    expires = "never" if identity.expires is None else format_time(identity.expires)
    rows = [("submitter", identity.submitter), ("scopes", ", ".join(identity.scopes)), ("expires", expires)]
    output.console().print(output.name_value_table(rows))
    return ExitCode.DONE
