"""Containers through real engines: davit's backup and restore of one beside docker commit, save, zstd and load.

images.sh measures; each run has an engine and a repository of its own. This makes the table."""
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
CANNOT = 77  # this machine cannot run private engines


def run_engines(engines, megabytes, runs, build, work):
    """{(job, engine): {tool: [(seconds, bytes)]}}; None where the machine cannot."""
    rows = {}
    for run in range(1, runs + 1):
        for engine in engines:
            print(f"images on {engine}: run {run} of {runs}", file=sys.stderr)
            done = subprocess.run([HERE / "images.sh", str(megabytes), str(run)], stdout=subprocess.PIPE, text=True,
                                  env={**os.environ, "DAVIT_ENGINE": engine, "DAVIT_BUILD": str(build.resolve()),
                                       "DAVIT_TEST_DIR": str(work)})
            if done.returncode == CANNOT:
                return None
            if done.returncode != 0:
                sys.exit(f"images.sh on {engine}: exit {done.returncode}")
            for line in done.stdout.splitlines():
                job, tool, seconds, size = line.split("\t")
                rows.setdefault((job, engine), {}).setdefault(tool, []).append((float(seconds), int(size)))
    return rows


def lines(rows, runs):
    yield (f"A container through the engine's API, everything on a tmpfs. Medians of {runs} runs, which davit and the others begin "
           "in turn. By hand: `docker commit` and `docker save | zstd -3 -T0`; `zstd -d | docker load` and `docker create`, "
           "where nothing of the image is left in the engine (Podman: the same of its own). Davit's figure also has the inspect "
           "document, the list of changed paths (`docker diff`, which is shown alone), the removal of the image from the engine "
           "and 0.2 s for the repository's lock. Ratio: by hand divided by davit, over 1 where davit is faster; each run's, the least and the greatest behind the "
           "median. Save alone: the engine's own time for the stream.")
    yield ""
    yield "| job | engine | davit | by hand | ratio | save alone | diff alone | davit stored | zstd stored |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|"
    for (job, engine), tools in rows.items():
        davit = [seconds for seconds, _ in tools["davit"]]
        by_hand = [first + then for (first, _), (then, _) in zip(tools["commit"], tools["zstd"])]
        ratios = [other / ours for other, ours in zip(by_hand, davit)]
        is_save = "save" in tools
        alone = [f"{statistics.median(seconds for seconds, _ in tools[tool]):.2f} s" if is_save else ""
                 for tool in ("save", "changes")]
        stored = [mebibytes(statistics.median(size for _, size in tools[tool])) if is_save else ""
                  for tool in ("davit", "zstd")]
        yield (f"| {job} | {engine} | {statistics.median(davit):.2f} s | {statistics.median(by_hand):.2f} s | "
               f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f}) | "
               f"{' | '.join(alone + stored)} |")


def mebibytes(size):
    return f"{size / (1 << 20):,.2f} MiB"
