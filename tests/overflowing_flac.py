"""FLAC files as in ASVspoof 2021: samples beyond the range of 16 bits, which newer versions of libFLAC refuse."""

import numpy as np

BLOCK = 4096


def wrapped(samples):
    """Return integers as 16 bits hold them: 32768 becomes -32768."""
    return (np.asarray(samples) + 32768) % 65536 - 32768


def content(samples):
    """Return integers as FLAC of 16 bits at 16 kHz: each block's first sample, then differences in Rice code."""
    about = f"{BLOCK:016b}{BLOCK:016b}{0:048b}{16000:020b}{0:03b}{15:05b}{len(samples):036b}"
    frames = [_frame(number, samples[i : i + BLOCK]) for number, i in enumerate(range(0, len(samples), BLOCK))]
    return b"fLaC\x80\0\0\x22" + _bytes(about) + bytes(16) + b"".join(frames)  # its MD5 is unknown


def _frame(number, samples):
    # Fixed block size, its length in 16 bits at the end, 16 kHz, one channel, 16 bits a sample.
    head = _bytes(f"{0b1111111111111000:016b}{7:04b}{5:04b}{0:04b}{4:03b}0{number:08b}{len(samples) - 1:016b}")
    head += bytes([_crc(head, 8, 0x07)])
    bits = f"0{0b001001:06b}0{samples[0] & 0xFFFF:016b}{0:02b}{0:04b}{14:04b}"
    for difference in np.diff(samples):
        folded = 2 * difference if difference >= 0 else -2 * difference - 1
        bits += "0" * (folded >> 14) + f"1{folded & 0x3FFF:014b}"
    frame = head + _bytes(bits)
    return frame + _crc(frame, 16, 0x8005).to_bytes(2, "big")


def _bytes(bits):
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _crc(content, n_bits, polynomial):
    crc, top = 0, 1 << n_bits - 1
    for byte in content:
        crc ^= byte << n_bits - 8
        for _ in range(8):
            crc = (crc << 1 ^ (polynomial if crc & top else 0)) & (1 << n_bits) - 1
    return crc
