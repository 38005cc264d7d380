"""Which implementation runs, and how the package says so."""

from __future__ import annotations

import json

import pytest

from medseg import ops
from tests.ops.conftest import run_python

USE = """
import json, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import torch
    from medseg import ops
    from medseg.ops import patch_select
    x = torch.arange(16.0).reshape(1, 1, 4, 4).requires_grad_()
    out, index = patch_select(x, torch.ones(1, 4, 2), torch.ones(1, 2), 2)
    out.sum().backward()
    said = [str(w.message) for w in caught if "medseg" in str(w.message)]
ran = ops.last_backend("patch_select"), ops.last_backend("patch_select_backward")
print(json.dumps([out.detach().flatten().tolist(), ran, ops.status()["patch_select"], said, ops.compiled()]))
"""


def test_status_names_every_op_and_is_json() -> None:
    status = json.loads(json.dumps(ops.status()))
    assert {"score_argmax", "patch_select"} <= set(status)
    for row in status.values():
        assert set(row) == {"cpu", "cuda"}
        assert row["cpu"] in ("avx512", "avx2", "generic") or row["cpu"].startswith("reference: ")
        assert row["cuda"].startswith(("built sm_", "not built: ", "not loaded: ", "load failed: ", "reference: "))


def test_reference_can_be_forced() -> None:
    done = run_python(USE, MEDSEG_OPS="reference")
    out, ran, status, said, compiled = json.loads(done.stdout)
    assert out == [0.0, 1.0, 4.0, 5.0]
    assert ran == ["reference", "reference"]
    assert status == {"cpu": "reference: MEDSEG_OPS=reference", "cuda": "reference: MEDSEG_OPS=reference"}
    assert said == []
    assert not compiled


def test_a_missing_library_is_said_once_and_the_reference_runs() -> None:
    hide = "import pathlib; real = pathlib.Path.exists\n"
    hide += "pathlib.Path.exists = lambda self, **k: False if self.name.startswith('_C') else real(self, **k)\n"
    done = run_python(hide + USE, MEDSEG_OPS="")
    out, ran, status, said, compiled = json.loads(done.stdout)
    assert out == [0.0, 1.0, 4.0, 5.0]
    assert ran == ["reference", "reference"]
    assert said == ["medseg.ops: plain PyTorch runs instead of compiled ops (not built: no _C.abi3.so in the package)"]
    assert status["cpu"] == "reference: not built: no _C.abi3.so in the package"
    assert not compiled


def test_compiled_code_runs_by_default(compiled: None) -> None:
    out, ran, status, said, _ = json.loads(run_python(USE, MEDSEG_OPS="").stdout)
    assert out == [0.0, 1.0, 4.0, 5.0]
    assert ran == [f"cpu:{status['cpu']}"] * 2
    assert said == []


def test_both_implementations_register_the_same_schemas(compiled: None) -> None:
    code = "import torch, medseg.ops as o\n"
    code += "for n in sorted(o.status()): print(getattr(torch.ops.medseg, n).default._schema)"
    reference = run_python(code, MEDSEG_OPS="reference")
    assert reference.stdout
    assert reference.stdout == run_python(code).stdout


def test_the_reference_passes_through_compile_and_export() -> None:
    code = """
import torch
from medseg.ops import patch_select, compiled
from tests.ops._definitions import problem
assert not compiled()
t = problem((1, 2, 8, 8), 2, 3)
f = lambda *a: patch_select(*a, 2)[0].square().sum()
expected = torch.autograd.grad(f(*t), t)
found = torch.autograd.grad(torch.compile(f, backend="aot_eager", fullgraph=True)(*t), t)
for a, b in zip(found, expected): torch.testing.assert_close(a, b)
torch.library.opcheck(torch.ops.medseg.patch_select.default, (*t, 2))
class M(torch.nn.Module):
    def forward(self, *a): return patch_select(*a, 2)
program = torch.export.export(M(), tuple(u.detach() for u in t))
assert "medseg.patch_select" in program.graph_module.code
print("done")
"""
    done = run_python(code, MEDSEG_OPS="reference")
    assert done.stdout == "done\n", done.stderr[-2000:]


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("MEDSEG_OPS", "fast", "ValueError: MEDSEG_OPS=fast: unknown; use auto or reference"),
        ("MEDSEG_ISA", "sse9", "ValueError: MEDSEG_ISA=sse9: unknown; use avx512, avx2 or generic"),
    ],
)
def test_an_unknown_setting_is_one_clear_error(compiled: None, variable: str, value: str, line: str) -> None:
    done = run_python("import medseg.ops", **{variable: value})
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == line


def test_isa_can_be_forced(compiled: None) -> None:
    done = run_python("import medseg.ops as o; print(o.status()['patch_select']['cpu'])", MEDSEG_ISA="generic")
    assert done.stdout == "generic\n"


def test_a_cuda_call_without_a_cuda_kernel_names_the_reason_and_the_way_out(compiled: None) -> None:
    import torch

    if torch.version.cuda is not None:
        pytest.skip("this torch has CUDA")
    from medseg.ops._load import _missing_cuda_kernel

    reason = ops.status()["patch_select"]["cuda"]
    with pytest.raises(RuntimeError) as caught:
        _missing_cuda_kernel("patch_select")()
    assert str(caught.value) == (
        f"medseg::patch_select has no CUDA kernel ({reason}); set MEDSEG_OPS=reference to run it"
    )
    assert torch._C._dispatch_has_kernel_for_dispatch_key("medseg::patch_select", "CUDA")


def test_an_op_that_has_only_a_cpu_kernel_says_so_in_the_status(compiled: None, monkeypatch) -> None:
    from medseg.ops import _load

    monkeypatch.setattr(_load, "_without_cuda_kernel", {"score_argmax"})
    assert ops.status()["score_argmax"]["cuda"] == "reference: no CUDA kernel"
    assert ops.status()["patch_select"]["cuda"] != "reference: no CUDA kernel"


def test_last_backend_refuses_an_unknown_op() -> None:
    with pytest.raises(ValueError, match=r"^no op 'patch_pick'; there are .*patch_select, "):
        ops.last_backend("patch_pick")


def test_importing_medseg_does_not_load_torch() -> None:
    assert run_python("import sys, medseg; print('torch' in sys.modules)").stdout == "False\n"
