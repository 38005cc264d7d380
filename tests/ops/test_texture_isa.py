"""local_histogram and local_glcm: every instruction set gives the same bits."""

from __future__ import annotations

from tests.ops.conftest import run_python

CODE = """
import hashlib, torch
from medseg.ops import last_backend, local_glcm, local_histogram
x = (torch.rand(1, 2, 80, 37, generator=torch.Generator().manual_seed(0)) * 8).requires_grad_()
maps = [local_glcm(x, (7, 5), [(0, 1), (2, -1)], 8), local_histogram(x, (7, 5), 6, 0, 7, soft=True)]
maps.append(local_histogram(x, (7, 5), 6, 0, 7))
sum(m.square().sum() for m in maps).backward()
total = b"".join(t.detach().numpy().tobytes() for t in (*maps, x.grad))
ops = ("local_glcm", "local_glcm_backward", "local_histogram", "local_histogram_backward")
print(*{last_backend(op) for op in ops}, hashlib.sha256(total).hexdigest())
"""


def test_every_instruction_set_gives_the_same_bits(compiled: None) -> None:
    digests = set()
    for isa in ("generic", "avx2", "avx512"):
        done = run_python(CODE, MEDSEG_ISA=isa)
        if isa != "generic" and "does not support it" in done.stderr:
            continue
        backend, digest = done.stdout.split()
        assert backend == f"cpu:{isa}"
        digests.add(digest)
    assert len(digests) == 1
