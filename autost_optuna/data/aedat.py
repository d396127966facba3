"""AEDAT files of event cameras, versions 2.0 and 3.1, as inivation documents them (docs.inivation.com, File Formats).

These readers replace SpikingJelly's, which import torchvision (not importable beside every torch), read the events of version
3.1 one by one in Python (a recording of DVS128 Gesture has millions), and accept half a packet. On whole files the tests
check that both agree, event by event.
"""

from typing import Any

from autost_optuna.data.events import Events

PACKET_BYTES = 28
POLARITY = 1  # the type of packets with changes of brightness; others hold frames, motion or special events
POLARITY_BYTES = 8
EXTERNAL = 1 << 15  # a bit of a DVS128's address: a signal on a pin, not a pixel
VERSION = b"#!AER-DAT"
HEADER_2, HEADER_3, HEADER_3_END = VERSION + b"2.0", VERSION + b"3.1", b"#!END-HEADER"


def addresses(content: bytes) -> tuple[Any, Any]:
    """Addresses and times in us, both int64 [n], of the events in an AEDAT 2.0 file: 4 bytes each, big-endian.

    ValueError with only the reason.
    """
    import numpy as np

    if not content.startswith(b"#"):  # some have no line of the version
        raise ValueError(f"it does not begin with {HEADER_2.decode()}")
    _check_version(content, HEADER_2)
    at = 0
    while content[at : at + 1] == b"#":  # a DVS128's addresses begin with a zero
        at = _line_end(content, at)
    if (len(content) - at) % 8:
        raise ValueError(f"{len(content) - at} bytes are not events of 8")
    words = np.frombuffer(content, ">u4", offset=at).reshape(-1, 2).astype(np.int64)
    return words[:, 0], words[:, 1]


def events(content: bytes) -> Events:
    """The valid changes in an AEDAT 3.1 file, whose packets are little-endian, and how many changes it marks as invalid.

    ValueError with only the reason.
    """
    import numpy as np

    _check_version(content, HEADER_3)
    if not content.startswith(HEADER_3):
        raise ValueError(f"it does not begin with {HEADER_3.decode()}")
    at, ended, invalid = 0, False, 0
    while not ended:
        if content[at : at + 1] != b"#":
            raise ValueError(f"its header has no {HEADER_3_END.decode()}")
        ended, at = content.startswith(HEADER_3_END, at), _line_end(content, at)
    words, times = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    while at < len(content):
        if len(content) - at < PACKET_BYTES:
            raise ValueError(f"a packet's header is cut at byte {len(content)}")
        kind = int.from_bytes(content[at : at + 2], "little")
        size, _, overflow, capacity, number, _ = np.frombuffer(content, "<i4", 6, at + 4).tolist()
        at += PACKET_BYTES
        if size < 1 or overflow < 0 or not 0 <= number <= capacity:
            raise ValueError(f"the packet's header at byte {at - PACKET_BYTES} holds impossible sizes")
        if size * capacity > len(content) - at:
            raise ValueError(
                f"a packet is cut at byte {len(content)}, {size * capacity - len(content) + at} bytes early"
            )
        if kind == POLARITY and number:
            if size != POLARITY_BYTES:
                raise ValueError(f"an event of {size} bytes is not a change of brightness")
            pairs = np.frombuffer(content, "<u4", 2 * number, at).reshape(-1, 2).astype(np.int64)
            valid = pairs[pairs[:, 0] & 1 == 1]
            invalid += len(pairs) - len(valid)
            words.append(valid[:, 0])
            times.append(valid[:, 1] | overflow << 31)
        at += size * capacity
    word = np.concatenate(words)
    return Events(
        x=word >> 17 & 0x7FFF,
        y=word >> 2 & 0x7FFF,
        polarity=word >> 1 & 1,
        time=np.concatenate(times),
        invalid=invalid,
    )


def _check_version(content: bytes, header: bytes) -> None:
    """ValueError if a file declares another version, as AEDAT 4 files (.aedat4) do."""
    if content.startswith(VERSION) and not content.startswith(header):
        found, read = (place[len(VERSION) :][:3].decode("latin1") for place in (content, header))
        raise ValueError(f"it is AEDAT {found}, and only AEDAT {read} is read here")


def _line_end(content: bytes, at: int) -> int:
    """The end of the line that contains position `at`."""
    end = content.find(b"\n", at)
    if end < 0:
        raise ValueError("its header is cut")
    return end + 1
