"""Configurations that would run code. ``FILE`` stands for a file that exists only if something of them was run."""

from __future__ import annotations

from typing import Any, NamedTuple

TOUCH = "touch FILE"


class Hostile(NamedTuple):
    """A configuration with one hostile part.

    Attributes:
        config: its keys beside ``run``.
        id: where the hostile part stands.
        harm: whether MONAI alone runs it here, without network and further libraries, so that ``FILE`` appears.
    """

    config: dict[str, Any]
    id: str
    harm: bool = False


def target(path: str, **arguments: Any) -> Hostile:
    return Hostile({"x": {"_target_": path, **arguments}}, "x", harm=True)


def harmless(path: str, **arguments: Any) -> Hostile:
    """Refused as well, but what it does leaves no file, or leaves it too late."""
    return target(path, **arguments)._replace(harm=False)


def expression(text: str, harm: bool = False, **more: Any) -> Hostile:
    return Hostile({**more, "x": f"${text}"}, "x", harm)


NETWORK = {"_target_": "monai.networks.nets.BasicUNet", "spatial_dims": 2}
LOADER = {"_target_": "LoadImage"}

TARGETS = {
    "os.system": target("os.system", command=TOUCH),
    "a program": target("subprocess.run", args=["touch", "FILE"]),
    "a built-in": target("builtins.open", file="FILE", mode="w"),
    "a path": Hostile({"x": {"_target_": "pathlib.Path"}}, "x"),
    "reached through monai": target("monai.utils.misc.os.system", command=TOUCH),
    "reached through torch": Hostile({"x": {"_target_": "torch.nn.modules.module.warnings.warn", "message": "m"}}, "x"),
    "reached through medseg": target("medseg.io.bounded.atomic.os.system", command=TOUCH),
    "a class of another package through monai": target(
        "monai.utils.misc.subprocess.Popen", args=["touch", "FILE"]
    )._replace(harm=False),
    "a function that is not committed": target("monai.utils.run_cmd", cmd_list=["touch", "FILE"]),
    "an import by name": harmless("monai.utils.optional_import", module="FILE_MODULE"),
    "an instance by name": harmless("monai.utils.module.instantiate", _path="os.system"),
    "partial": harmless("functools.partial", func="x"),
    "eval": Hostile({"x": {"_target_": "builtins.eval", "source": "1"}}, "x"),
    "torch.load": Hostile({"x": {"_target_": "torch.load", "f": "FILE"}}, "x"),
    "torch.load at its own place": Hostile({"x": {"_target_": "torch.serialization.load", "f": "FILE"}}, "x"),
    "torch.save": target("torch.save", obj=[1], f="FILE"),
    "torch.hub": Hostile({"x": {"_target_": "torch.hub.load", "repo_or_dir": "a/b", "model": "c"}}, "x"),
    "torch.jit.load": Hostile({"x": {"_target_": "torch.jit.load", "f": "FILE"}}, "x"),
    "torch.package": Hostile({"x": {"_target_": "torch.package.PackageImporter", "file_or_buffer": "FILE"}}, "x"),
    "a compiler": Hostile({"x": {"_target_": "torch.utils.cpp_extension.load", "name": "a", "sources": []}}, "x"),
    "a library": Hostile({"x": {"_target_": "torch.ops.load_library", "path": "FILE"}}, "x"),
    "torch.classes": Hostile({"x": {"_target_": "torch.classes.load_library", "path": "FILE"}}, "x"),
    "a bundle": Hostile({"x": {"_target_": "monai.bundle.download", "name": "spleen_ct_segmentation"}}, "x"),
    "a bundle by its short name": Hostile({"x": {"_target_": "run_workflow"}}, "x"),
    "a download": Hostile({"x": {"_target_": "monai.apps.download_url", "url": "http://localhost"}}, "x"),
    "an archive": Hostile({"x": {"_target_": "monai.apps.extractall", "filepath": "FILE"}}, "x"),
    "a short name of a download": Hostile({"x": {"_target_": "download_and_extract", "url": "u"}}, "x"),
    "a data set that downloads": Hostile({"x": {"_target_": "MedNISTDataset", "root_dir": ".", "section": "a"}}, "x"),
    "an expression as target": target("$__import__('os').system", command=TOUCH)._replace(id="x", harm=False),
    "a module of the folder": Hostile({"x": {"_target_": "hostile_module.run"}}, "x", harm=True),
    "a name with an underscore": Hostile({"x": {"_target_": "monai.utils.module._x"}}, "x"),
    "a debugger": Hostile({"x": {"_target_": "torch.nn.Identity", "_mode_": "debug"}}, "x"),
    "a breakpoint": Hostile({"x": {"_target_": "torch.nn.Identity", "_debug_": True}}, "x"),
    "within a list": Hostile({"a": [1, {"b": {"_target_": "os.system", "command": TOUCH}}]}, "a::1::b", harm=False),
    "a dependency": Hostile(
        {"x": {"_target_": "torch.nn.Identity", "_requires_": {"_target_": "os.system", "command": TOUCH}}},
        "x::_requires_",
        harm=True,
    ),
}

ARGUMENTS = {
    "Lambda": Hostile({"x": {"_target_": "Lambda", "func": "$len"}}, "x"),
    "Lambdad by its other name": Hostile({"x": {"_target_": "LambdaDict", "keys": "a", "func": "$len"}}, "x"),
    "TorchVision": Hostile({"x": {"_target_": "TorchVision", "name": "Pad"}}, "x"),
    "MLFlow": Hostile({"x": {"_target_": "MLFlowHandler", "tracking_uri": "FILE"}}, "x"),
    "a reader by its name": Hostile({"x": {**LOADER, "reader": "subprocess.getoutput", "cmd": TOUCH}}, "x::reader"),
    "a reader by a reference": Hostile({"x": {**LOADER, "reader": "@name"}, "name": "os.system"}, "x::reader"),
    "pickles": Hostile({"x": {**LOADER, "reader": "NumpyReader", "allow_pickle": True}}, "x::allow_pickle"),
    "pickles by a reference": Hostile({"x": {**LOADER, "allow_pickle": "@flag"}, "flag": True}, "x::allow_pickle"),
    "pickles by an expression": Hostile({"x": {**LOADER, "allow_pickle": "$not False"}}, "x::allow_pickle"),
    "weights that are pickled": Hostile(
        {
            "x": {
                "_target_": "PersistentDataset",
                "data": [],
                "transform": None,
                "cache_dir": ".",
                "weights_only": False,
            }
        },
        "x::weights_only",
    ),
    "pretrained": Hostile(
        {"x": {"_target_": "DenseNet121", "spatial_dims": 2, "in_channels": 3, "out_channels": 2, "pretrained": True}},
        "x::pretrained",
    ),
    "pretrained by default": Hostile(
        {"x": {"_target_": "EfficientNetBN", "model_name": "efficientnet-b0"}}, "x::pretrained"
    ),
    "an address": Hostile({"x": "https://example.org/model.pt"}, "x"),
    "an address in an argument": Hostile({"x": {"_target_": "CSVDataset", "src": "ftp://example.org/a"}}, "x::src"),
    "a callable": Hostile({"x": {"_target_": "CacheDataset", "data": [], "transform": "$torch.load"}}, "x::transform"),
    "any function of a data set": Hostile({"x": {"_target_": "DatasetFunc", "data": "a", "func": "$len"}}, "x"),
    "arguments in a mapping": Hostile({"x": {"kwargs": {"weights_only": False}}}, "x::kwargs::weights_only"),
}

EXPRESSIONS = {
    "an import": expression("__import__('os').system('touch FILE')", harm=True),
    "a statement after an import": Hostile({"x": "$import hostile_module"}, "x", harm=True),
    "an import from": Hostile({"x": "$from os import system", "y": "$system('touch FILE')"}, "x"),
    "an import by another name": Hostile({"x": "$import subprocess as torch"}, "x"),
    "two statements": Hostile({"x": "$import os; import sys"}, "x"),
    "a module through monai": expression("monai.utils.misc.os.system('touch FILE')", harm=True),
    "a module through torch": expression("torch.os.system('touch FILE')", harm=True),
    "a module in a list": expression("[torch.os][0].system('touch FILE')", harm=True),
    "an imported module by reference": expression("@names::0.system('touch FILE')", harm=True, names=["$import os"]),
    "open": expression("open('FILE', 'w')", harm=True),
    "eval in an expression": expression("eval('1')"),
    "getattr": expression("getattr(torch, 'load')"),
    "the classes of a text": expression("().__class__.__base__.__subclasses__()"),
    "a format text": expression("'{0.__class__}'.format(1)"),
    "a format text by the class": expression("str.format('{0.x}', 1)"),
    "an attribute in a formatted text": expression("f'{torch.os.system(chr(116))}'"),
    "a named value": expression("(f := open)('FILE', 'w')", harm=True),
    "unpacked arguments": expression("torch.device(*['cpu'])"),
    "unpacked names": expression("dict(**{'a': 1})"),
    "a subscript with underscores": expression("@y['__builtins__']", y={"a": 1}),
    "the references of MONAI": expression("__local_refs['y']", y=1),
    "a reference inside a text": expression("'@y'.format", y=1),
    "a lambda that is called": expression("(lambda: open('FILE', 'w'))()", harm=True),
    "a lambda that calls its argument": expression("(lambda f: f('FILE', 'w'))(open)", harm=True),
    "a lambda that is called at once": expression("(lambda: 'FILE')()"),
    "a lambda that calls what it is given": expression("(lambda f: f('FILE'))"),
    "a loop over functions": expression("[f('FILE') for f in [len]]"),
    "a function out of a list": expression("[len][0]('FILE')"),
    "a function out of a condition": expression("(len if True else None)('FILE')"),
    "a method out of a list": expression("[@y][0].run()", y={"_target_": "torch.nn.Identity"}),
    "an argument in a mapping": expression("dict([('weights_only', False)])"),
    "a function as a default": expression("[lambda f=open: f('FILE', 'w')][0]()", harm=True),
    "a loop variable that is called": expression("[f('FILE', 'w') for f in [open]]", harm=True),
    "a call of a subscript": expression("[open][0]('FILE', 'w')", harm=True),
    "a call of a conditional": expression("(open if True else None)('FILE', 'w')", harm=True),
    "a function passed on": expression("sorted(['FILE'], key=torch.os.mkdir)", harm=True),
    "a method that is not committed": expression("@y.save('FILE')", y={"_target_": "torch.Generator"}),
    "a method of something unknown": expression("@y.z.save('FILE')", y={"_target_": "torch.nn.Identity"}),
    "a file of NumPy": expression("np.load('FILE', allow_pickle=True)"),
    "a write by NumPy": expression("np.savetxt('FILE', [1])", harm=True),
    "compiled weights": expression("torch.jit.load('FILE')"),
    "a component with pickles": expression("monai.transforms.LoadImage('a', allow_pickle=True)"),
    "a debugger by name": expression("breakpoint()"),
    "a name in the description": Hostile(
        {"x": {"_target_": "torch.nn.Identity", "_desc_": "$open('FILE', 'w')"}}, "x::_desc_", harm=True
    ),
    "a condition": Hostile(
        {"x": {"_target_": "torch.nn.Identity", "_disabled_": "$open('FILE', 'w')"}}, "x::_disabled_", harm=True
    ),
    "a long chain": Hostile(
        {
            **{f"a{i:02d}": f"$@a{i + 1:02d}.eval()" for i in range(60)},
            "a60": {"_target_": "torch.nn.Identity"},
            "x": "$@a09.save('FILE')",
        },
        "a51",
    ),
    "a circle": Hostile({"x": "$@y.save('FILE')", "y": "$@x"}, "x"),
    "names that are imported later": expression(
        "[@y.important.save('FILE'), @y.save('FILE')]",
        y="$AcrossRanks(torch.nn.Identity())",
        z="$from medseg.losses import AcrossRanks",
    ),
    "a macro of another folder": Hostile({"x": "%/etc/passwd.json::a"}, ""),
    "a name twice": Hostile({"x": {"a::b": 1, "a": {"b": {"_target_": "torch.nn.Identity"}}}}, "x"),
}

CASES = {**TARGETS, **ARGUMENTS, **EXPRESSIONS}
