#!/usr/bin/env python3
"""Turns a log of `strace -f -y -e trace=openat,read,pread64,lseek` (standard input) into a trace
for `firn replay` (standard output).

A file is cut into blocks of 16 KiB. Each block that a read touches becomes one line `key,size`:
key is a 64-bit hash of the file's path and the block's number, size the bytes of the block that
were read. Reads in small steps within one block count once. Pipes, devices and /proc are left
out, and so are paths: only numbers come out.
"""

import hashlib
import re
import sys

BLOCK = 16384

CALL = re.compile(r"^(\d+) +(openat|read|pread64|lseek)\((.*)\) += (-?\d+)(?:<(.*)>)?$")
DESCRIPTOR = re.compile(r"^(\d+)<(/[^>]*)>")
LEFT_OUT = ("/proc/", "/sys/", "/dev/")


def key_of(path, block):
    name = b"%s\0%d" % (path.encode("utf-8", "surrogateescape"), block)
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")


def whole_lines(log):
    """Lines of the log, with calls that another process interrupted put together again."""
    begun = {}
    for line in log:
        line = line.rstrip("\n")
        pid = line.split(" ", 1)[0]
        if line.endswith(" <unfinished ...>"):
            begun[pid] = line[: -len(" <unfinished ...>")]
        elif " resumed>" in line and pid in begun:
            yield begun.pop(pid) + line.split(" resumed>", 1)[1]
        else:
            yield line


def reads_of(log):
    """(process, path, offset, bytes) of every read of a file."""
    position = {}
    for line in whole_lines(log):
        match = CALL.match(line)
        if not match or int(match[4]) < 0:
            continue
        pid, call, arguments, result = match[1], match[2], match[3], int(match[4])
        if call == "openat":
            position[pid, match[4]] = 0
            continue
        descriptor = DESCRIPTOR.match(arguments)
        if not descriptor or descriptor[2].startswith(LEFT_OUT):
            continue
        at = (pid, descriptor[1])
        if call == "lseek":
            position[at] = result
        elif result > 0:
            if call == "pread64":
                offset = int(arguments.rsplit(", ", 1)[1], 0)
            else:
                offset = position.get(at, 0)
                position[at] = offset + result
            yield pid, descriptor[2], offset, result


def main():
    sys.stdin.reconfigure(errors="surrogateescape")
    last = {}
    sizes = {}
    for pid, path, offset, size in reads_of(sys.stdin):
        end = offset + size
        for block in range(offset // BLOCK, (end - 1) // BLOCK + 1):
            if last.get(pid) == (path, block):
                continue
            last[pid] = (path, block)
            key = key_of(path, block)
            held = min(end, (block + 1) * BLOCK) - max(offset, block * BLOCK)
            # A block keeps the size it was first seen with, as an object of a cache would.
            print(f"{key},{sizes.setdefault(key, held)}")


main()
