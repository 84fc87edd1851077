"""`ringfence demo --once` finds its three attacks within a minute."""
import time

from stage import Stage, ringfence

with Stage() as stage:
    began = time.monotonic()
    done = ringfence("demo", "--once", check=False, cwd=stage.folder)
    took = time.monotonic() - began
    print(done.stdout[-6000:])
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-4000:]}"
    assert took < 60, f"took {took:.0f} s"
    said = (done.stdout + done.stderr).lower()
    for attack in ("wangiri", "fraud", "tdos"):
        assert attack in said, f"{attack} is not named"
    assert "panicked" not in said
    left = [p.name for p in stage.folder.iterdir()]
    assert not left, f"left behind: {left}"
print(f"demo: three attacks named, exit code 0, {took:.0f} s")
