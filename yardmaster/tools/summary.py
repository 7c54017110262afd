"""How a backup is told in one line and counted, and when it must not become a snapshot."""

from yardmaster.sdk import Context, Failed, Outcome, SnapshotAnswer
from yardmaster.tools.scan import Rules, Scan, scan_folder

LISTED = 50


def outcome_of(scan: Scan, answer: SnapshotAnswer) -> Outcome:
    """Return how a backup ends: what there is, what changed, what was left out."""
    parts = [
        f"{answer.counts[name]} {name}"
        for name in ("added", "modified", "removed", "renamed")
        if answer.counts.get(name)
    ]
    changes = ", ".join(parts) or "nothing changed"
    message = f"{number(len(scan.entries), 'file')}, {size_in_words(scan.bytes)}: {changes}"
    if scan.left_out:
        message += f"; {len(scan.left_out)} left out, see the log"
    kept, skipped = len(scan.entries), len(scan.left_out)
    counts = {"total": kept + skipped, "successful": kept, "failed": 0, "skipped": skipped}
    return Outcome(message, counts)


def tell(context: Context, scan: Scan, where: str) -> None:
    """Write what was left out to the log; raises Failed when anything could not be read."""
    for line in scan.left_out:
        context.warn(f"left out {line}")
    if scan.problems:
        listed = scan.problems[:LISTED]
        if len(scan.problems) > LISTED:
            listed.append(f"… and {len(scan.problems) - LISTED} more")
        count = number(len(scan.problems), "file or folder", "files or folders")
        raise Failed(
            f"{count} in {where} cannot be backed up: {scan.problems[0]}", "\n".join(listed)
        )


def send_fetched(context: Context, scan: Scan, where: str) -> Outcome:
    """Send the files that were fetched to `scan.root` as a snapshot.

    `scan` holds what was noted while they were fetched.
    """
    everything = Rules.of([], [], None, context.object_bytes, context.private_folder)
    read = scan_folder(scan.root, everything, {}, context.check)
    read.left_out[:0] = scan.left_out
    read.problems[:0] = scan.problems
    tell(context, read, where)
    context.log(f"{where}: {number(len(read.entries), 'file')}, {size_in_words(read.bytes)}.")
    return outcome_of(read, context.snapshot(read))


def number(count: int, one: str, many: str = "") -> str:
    """Return how many there are of something, in words."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size_in_words(size: int) -> str:
    """Return a number of bytes as people say it, in powers of 1000."""
    if size < 1000:
        return number(size, "byte")
    units = ["kB", "MB", "GB", "TB"]
    value = size / 1000
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{value:.1f} {units[0]}"
