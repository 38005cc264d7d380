"""What a checked configuration may name: committed kinds of classes, functions, methods, modules, and what is refused.

All of it is data, written as dotted paths. Objects are compared by identity, so another way to the same object is
allowed as well, and an allowed name that leads to another object is not. To allow more, add a line here.
"""

from __future__ import annotations

__all__ = [
    "ALLOWED_ATTRIBUTES",
    "BUILTINS",
    "CALLABLE_CLASSES",
    "CLASS_MODULES",
    "FIXED_ARGUMENTS",
    "FUNCTIONS",
    "HANDLER_MODULES",
    "KINDS",
    "METHODS",
    "MODULES",
    "NAMED_LOADERS",
    "PACKAGES",
    "REFUSED",
    "RETURNS_ITSELF",
]

PACKAGES = ("medseg", "monai", "torch", "ignite", "pytorch_lightning")
"""Packages from which classes may come."""

CLASS_MODULES = (
    "medseg",
    *("monai.transforms", "monai.data", "monai.networks", "monai.losses", "monai.metrics", "monai.inferers"),
    *("monai.handlers", "monai.engines", "monai.optimizers"),
    *("monai.apps.deepedit", "monai.apps.deepgrow", "monai.apps.detection", "monai.apps.generation"),
    *("monai.apps.nuclick", "monai.apps.pathology", "monai.apps.reconstruction", "monai.apps.vista3d"),
    *("torch.nn", "torch.optim", "torch.utils.data"),
    *("ignite.engine", "ignite.handlers", "ignite.metrics"),
    "pytorch_lightning",
)
"""Where, inside those packages, classes of the committed kinds are defined."""

KINDS = (
    "torch.nn.Module",  # networks, layers and losses
    "torch.utils.data.Dataset",
    "torch.utils.data.DataLoader",
    "torch.utils.data.Sampler",
    "torch.optim.Optimizer",
    "torch.optim.lr_scheduler.LRScheduler",
    "monai.transforms.Transform",
    "monai.metrics.Metric",
    "monai.inferers.Inferer",
    "monai.engines.utils.PrepareBatch",
    "ignite.metrics.Metric",
    "ignite.engine.Engine",
    "pytorch_lightning.LightningModule",
    "pytorch_lightning.LightningDataModule",
    "pytorch_lightning.Callback",
    "pytorch_lightning.Trainer",
    "pytorch_lightning.loggers.Logger",
)
"""A class must be a subclass of one of these, or a handler: a class with ``attach`` in `HANDLER_MODULES`."""

HANDLER_MODULES = ("medseg.training", "monai.handlers", "ignite.handlers")

CALLABLE_CLASSES = (
    "torch.device",
    "torch.Generator",
    "torch.amp.GradScaler",
    "medseg.io.CheckedNiftiReader",
    "monai.data.ITKReader",
    "monai.data.NibabelReader",
    "monai.data.NrrdReader",
    "monai.data.NumpyReader",
    "monai.data.PILReader",
    "monai.data.PydicomReader",
    "monai.inferers.SlidingWindowSplitter",
    "monai.inferers.AvgMerger",
)
"""Classes of other kinds that may be used as well."""

FUNCTIONS: dict[str, str | None] = {
    "medseg.datasets.data_list.read_data_list": "list",
    "medseg.inference.check_only.refuse_check_only": None,
    "medseg.inference.patch_size.check_roi_size": None,
    "medseg.io.bounded.one_line.one_line_errors": None,
    "medseg.io.bounded.weights.load_weights": None,
    "medseg.io.volumes.nifti.find_nifti": "list",
    "medseg.networks.create": "torch.nn.Module",
    "medseg.networks.list_networks": "list",
    "medseg.training.cache_size.announce_cache": None,
    "medseg.training.deterministic.set_deterministic": None,
    "medseg.training.distributed.finish_group": None,
    "medseg.training.distributed.for_this_process": None,
    "medseg.training.distributed.in_parallel": None,
    "medseg.training.distributed.is_writer": "bool",
    "medseg.training.distributed.process_device": "torch.device",
    "medseg.training.distributed.processes": "int",
    "medseg.training.distributed.rank": "int",
    "medseg.training.distributed.run_evaluation": None,
    "medseg.training.distributed.share_of": None,
    "medseg.training.distributed.start_group": None,
    "medseg.training.evaluator_parameter_groups": "list",
    "medseg.training.freeze": None,
    "medseg.training.last_beside": "str",
    "medseg.training.make_optimiser": "torch.optim.Optimizer",
    "monai.data.decollate_batch": None,
    "monai.data.list_data_collate": None,
    "monai.data.load_decathlon_datalist": "list",
    "monai.data.pad_list_data_collate": None,
    "monai.data.partition_dataset": None,
    "monai.handlers.from_engine": None,
    "monai.utils.set_determinism": None,
    "torch.arange": "torch.Tensor",
    "torch.argmax": "torch.Tensor",
    "torch.as_tensor": "torch.Tensor",
    "torch.cat": "torch.Tensor",
    "torch.cuda.current_device": "int",
    "torch.cuda.device_count": "int",
    "torch.cuda.is_available": "bool",
    "torch.cuda.is_bf16_supported": "bool",
    "torch.distributed.get_rank": "int",
    "torch.distributed.get_world_size": "int",
    "torch.distributed.is_available": "bool",
    "torch.distributed.is_initialized": "bool",
    "torch.full": "torch.Tensor",
    "torch.linspace": "torch.Tensor",
    "torch.manual_seed": None,
    "torch.ones": "torch.Tensor",
    "torch.sigmoid": "torch.Tensor",
    "torch.softmax": "torch.Tensor",
    "torch.stack": "torch.Tensor",
    "torch.tensor": "torch.Tensor",
    "torch.zeros": "torch.Tensor",
    "numpy.arange": None,
    "numpy.array": None,
    "numpy.asarray": None,
    "numpy.linspace": None,
    "numpy.ones": None,
    "numpy.zeros": None,
    "math.ceil": "int",
    "math.floor": "int",
    "math.log": "float",
    "math.sqrt": "float",
    "os.path.abspath": "str",
    "os.path.basename": "str",
    "os.path.dirname": "str",
    "os.path.exists": "bool",
    "os.path.isdir": "bool",
    "os.path.isfile": "bool",
    "os.path.join": "str",
    "glob.glob": "list",
}
"""Functions that a ``_target_`` or an expression may call, and the class of the result where calls of its methods are
of use."""

BUILTINS: dict[str, str | None] = {
    **dict.fromkeys(("abs", "enumerate", "max", "min", "range", "reversed", "round", "set", "sum", "tuple", "zip")),
    **dict.fromkeys(("all", "any", "bool"), "bool"),
    **dict.fromkeys(("int", "len"), "int"),
    **dict.fromkeys(("list", "sorted"), "list"),
    "dict": "dict",
    "float": "float",
    "str": "str",
}
"""Built-in functions that an expression may call, with the class of the result as in `FUNCTIONS`."""

METHODS: dict[str, tuple[str, ...]] = {
    "str": (
        *("endswith", "join", "lower", "lstrip", "removeprefix", "removesuffix", "replace", "rsplit", "rstrip"),
        *("split", "startswith", "strip", "upper"),
    ),
    "list": ("copy", "count", "index"),
    "dict": ("copy", "get", "items", "keys", "values"),
    "torch.Tensor": ("argmax", "bool", "cpu", "float", "int", "item", "long", "max", "mean", "min", "sum", "to"),
    "torch.nn.Module": (
        *("children", "cpu", "cuda", "eval", "modules", "named_parameters", "parameters", "requires_grad_", "to"),
        *("state_dict", "train", "__call__"),
    ),
    "monai.transforms.Transform": ("__call__",),
    "monai.inferers.Inferer": ("__call__",),
    "monai.engines.Workflow": ("run",),
}
"""Methods that an expression may call, by class; they hold for its subclasses."""

RETURNS_ITSELF = ("cpu", "cuda", "eval", "requires_grad_", "to", "train")
"""Methods of a module after which it is still an object of its class."""

ALLOWED_ATTRIBUTES = (
    *("affine", "array", "batch", "data", "device", "dtype", "epoch", "index", "iteration", "itemsize", "meta"),
    *("metrics", "ndim", "output", "pixdim", "shape", "state", "type"),
)
"""Attributes that may be read from objects whose class is not known before the run."""

MODULES = ("math", "os", "os.path", "posixpath", "ntpath", "glob", "numpy", *PACKAGES)
"""Modules that may be imported; inside `PACKAGES` all modules that are not in `REFUSED`."""

REFUSED: dict[str, str] = {
    "torch.load": "reads pickled files",
    "torch.hub": "downloads code",
    "torch.jit": "loads compiled code",
    "torch.package": "loads pickled code",
    "torch.utils.cpp_extension": "compiles and loads code",
    "torch.utils.model_zoo": "downloads weights",
    "torch.utils.data.datapipes": "calls any function",
    "torch.nn.cpp": "loads compiled code",
    "torch.ops": "loads libraries",
    "torch.classes": "loads libraries",
    "monai.bundle": "downloads and runs bundles",
    "monai.apps.datasets": "downloads and unpacks archives",
    "monai.apps.mmars": "downloads and unpacks archives",
    "monai.apps.tcia": "downloads and unpacks archives",
    "monai.apps.utils": "downloads and unpacks archives",
    "monai.apps.auto3dseg": "runs other programs",
    "monai.apps.nnunet": "runs other programs",
    "monai.auto3dseg": "runs other programs",
    "monai.fl": "runs other programs",
    "monai.data.torchscript_utils": "loads compiled code",
    "monai.data.dataset.DatasetFunc": "calls any function",
    "monai.handlers.clearml_handlers": "sends data to a server",
    "monai.handlers.mlflow_handler": "sends data to a server",
    "monai.handlers.trt_handler": "loads compiled code",
    "monai.losses.perceptual": "downloads code and weights",
    "monai.networks.layers.gmm": "compiles and loads code",
    "monai.networks.nets.cell_sam_wrapper": "reads pickled files",
    "monai.networks.nets.transchex": "downloads weights",
    "monai.transforms.utility.array.CuCIM": "finds a function by its name",
    "monai.transforms.utility.array.RandCuCIM": "finds a function by its name",
    "monai.transforms.utility.dictionary.CuCIMd": "finds a function by its name",
    "monai.transforms.utility.dictionary.RandCuCIMd": "finds a function by its name",
    "monai.transforms.utility.array.Lambda": "calls any function",
    "monai.transforms.utility.array.RandLambda": "calls any function",
    "monai.transforms.utility.dictionary.Lambdad": "calls any function",
    "monai.transforms.utility.dictionary.RandLambdad": "calls any function",
    "monai.transforms.utility.array.TorchIO": "finds a class by its name",
    "monai.transforms.utility.array.RandTorchIO": "finds a class by its name",
    "monai.transforms.utility.dictionary.TorchIOd": "finds a class by its name",
    "monai.transforms.utility.dictionary.RandTorchIOd": "finds a class by its name",
    "monai.transforms.utility.array.TorchVision": "finds a class by its name",
    "monai.transforms.utility.array.RandTorchVision": "finds a class by its name",
    "monai.transforms.utility.dictionary.TorchVisiond": "finds a class by its name",
    "monai.transforms.utility.dictionary.RandTorchVisiond": "finds a class by its name",
    "ignite.handlers.clearml_logger": "sends data to a server",
    "ignite.handlers.mlflow_logger": "sends data to a server",
    "ignite.handlers.neptune_logger": "sends data to a server",
    "ignite.handlers.polyaxon_logger": "sends data to a server",
    "ignite.handlers.visdom_logger": "sends data to a server",
    "ignite.handlers.wandb_logger": "sends data to a server",
    "ignite.metrics.gan": "downloads weights",
    "pytorch_lightning.callbacks.lambda_function": "calls any function",
    "pytorch_lightning.cli": "runs other programs",
    "pytorch_lightning.loggers.comet": "sends data to a server",
    "pytorch_lightning.loggers.mlflow": "sends data to a server",
    "pytorch_lightning.loggers.neptune": "sends data to a server",
    "pytorch_lightning.loggers.wandb": "sends data to a server",
}
"""Modules, classes and functions that are refused although they are of a committed kind or package, and why."""

FIXED_ARGUMENTS: dict[str, tuple[object, ...]] = {
    "allow_pickle": (False,),
    "weights_only": (True,),
    "pretrained": (False, None),
    "pretrained_url": (None,),
    "use_pretrained": (False,),
    "download": (False,),
    "trust_repo": (False,),
    "pickle_module": (),
    "hash_func": (),
    "ckpt_path": (None,),
    "resume_from_checkpoint": (None,),
}
"""Arguments that may have these values only, whatever takes them; an empty row: that may not be given."""

NAMED_LOADERS: dict[str, tuple[str, ...]] = {
    "reader": (
        *("ITKReader", "NibabelReader", "NrrdReader", "NumpyReader", "PILReader", "PydicomReader"),
        *("cuCIM", "OpenSlide", "TiffFile"),
    ),
    "writer": ("ITKWriter", "NibabelWriter", "PILWriter"),
    "merger_cls": ("AvgMerger",),
}
"""Arguments that name a class as a text, which the library imports, and the names that are allowed."""
