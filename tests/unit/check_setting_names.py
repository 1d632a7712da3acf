"""Every setting of every program, and every TW_ variable of our scripts, is in the list of lib/settings.c: programs
that share an environment must not refuse each other's variables. A number of that name means the same to all of them."""
import pathlib
import re
import subprocess
import sys

NAME = r"TW_[A-Z0-9_]+"


def shared_names(source):
    text = (source / "lib/settings.c").read_text()
    body = re.search(r"shared_names\[\] = \{(.*?)\};", text, re.S)[1]
    names = re.findall(rf'"({NAME})"', body)
    assert names == sorted(set(names)), "shared_names is not sorted"
    return names


def is_shared(name, names):
    return any(name == shared or (shared.endswith("_") and name.startswith(shared)) for shared in names)


def program_names(build):
    """The ENVIRONMENT column of --help."""
    found = {}
    for program in sorted(build.glob("bin/tillwire-*")) + sorted(build.glob("bin/twctl")):
        text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
        for name in re.findall(rf"^  --\S+ +({NAME}) ", text, re.M):
            found.setdefault(name, program.name)
    assert found, f"no program in {build}/bin tells its settings"
    return found


def ranges(build):
    """Setting -> range -> programs, for numbers."""
    found = {}
    for program in sorted(build.glob("bin/tillwire-*")):
        text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
        for name, range_ in re.findall(rf"^  --\S+ +({NAME}) +(\d+\.\.\d+) ", text, re.M):
            found.setdefault(name, {}).setdefault(range_, []).append(program.name)
    return found


def script_names(source):
    """What scripts read or set: $TW_X, ${TW_X…}, TW_X=…"""
    found = {}
    scripts = [source / "dev", *source.glob(".ci/*"), *source.glob("docker/**/*.sh"), *source.glob("docker/**/*.y*ml")]
    for script in filter(pathlib.Path.is_file, scripts):
        for name in re.findall(rf"(?:\$\{{?|\b)({NAME})(?==|\b)", script.read_text()):
            found.setdefault(name, str(script.relative_to(source)))
    return found


def main(source, build):
    names = shared_names(source)
    missing = {name: where for name, where in {**script_names(source), **program_names(build)}.items()
               if not is_shared(name, names)}
    for name, where in sorted(missing.items()):
        print(f"{name} of {where} is not in shared_names of lib/settings.c")
    two_things = {name: found for name, found in ranges(build).items() if len(found) > 1}
    for name, found in sorted(two_things.items()):
        print(f"{name} is not one setting: {found}")
    sys.exit(1 if missing or two_things else 0)


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
