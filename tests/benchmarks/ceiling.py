"""What the journals do by themselves: the same rows, no broker. An example of each store measures it."""

import subprocess

from lib.gateway import ROOT
from lib.postgres import Postgres

EXAMPLES = {"evergate-sqlite": ("evergate-sqlite", "sqlite_ceiling"), "evergate-postgres": ("evergate-postgres", "postgres_ceiling")}


def table(brokers, seconds, failures):
    texts = []
    for broker in brokers:
        if broker.name not in EXAMPLES:
            continue
        package, example = EXAMPLES[broker.name]
        # On disk beside the gateway's own data, but in files and a server of its own.
        server = Postgres().start() if package == "evergate-postgres" else None
        try:
            texts.append(measure(package, example, [server.url] if server else [], seconds))
        except subprocess.SubprocessError as error:
            failures.add(f"ceiling of {package}", error)
        finally:
            if server:
                server.remove()
    return "Ceilings of the journals (no broker, no sockets):\n\n```\n" + "\n".join(texts) + "\n```"


def measure(package, example, arguments, seconds):
    subprocess.run(["cargo", "build", "-q", "--release", "--locked", "-p", package, "--example", example], cwd=ROOT, check=True)
    done = subprocess.run(
        [ROOT / "target/release/examples" / example, *arguments, str(seconds)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout.strip()
