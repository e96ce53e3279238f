"""The preloaded library that makes system calls fail (tests/fault/shim.c), built beside the binary under test."""
import pytest

from harness import BINARY

SHIM = BINARY.parent / "fault_shim.so"
needs_shim = pytest.mark.skipif(not SHIM.exists() or "asan" in str(BINARY), reason="the preloaded shim is not for this build")
