"""Look into arrays and Volumes with Neuroglancer, from one line of a notebook."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emlib.visualization.neuroglancer_state import LayerPlan, dimensions, neuroglancer_state
from emlib.visualization.panels import as_array, find_voxel_size, infer_kind
from emlib.visualization.served_array import ServedArray, find_segments, value_range

# A viewer's link dies when nothing holds the viewer; the last few are held so that a line without an assignment works.
_latest_views: deque[NeuroglancerView] = deque(maxlen=4)


def show_neuroglancer(
    image: Any = None,
    prediction: Any = None,
    segmentation: Any = None,
    truth: Any = None,
    *,
    voxel_size: Sequence[float] | None = None,
    position: Sequence[float] | None = None,
    extra: Mapping[str, Any] | None = None,
    channel_names: Sequence[str] | None = None,
    segments: Sequence[int] | None = None,
    layout: str = "4panel",
    open_browser: bool | None = None,
    iframe: bool = False,
    title: str = "emlib",
) -> NeuroglancerView:
    """Show volumes in Neuroglancer: three sections and a 3-D view, with the voxels' true proportions.

    Nothing is copied: voxels are read when the browser asks for them, so a Volume may be larger than memory. In
    JupyterLab the last line of a cell shows a link. In a batch run (papermill, a script) no server is started; one line
    says what there is to see, and the run goes on. The server listens on 127.0.0.1 only, and its address holds a
    random token.

    Args:
        image: (z, y, x), shown in grey.
        prediction: (c, z, y, x) or (z, y, x); each channel is a layer in a colour of its own.
        segmentation: integer labels (z, y, x).
        truth: integer labels (z, y, x), hidden at first if there is a segmentation (press its number key).
        voxel_size: nm (z, y, x), default that of the first Volume which knows it.
        position: (z, y, x) in voxels to look at, default the centre.
        extra: name -> array for more layers; integers except uint8 are labels, anything else an image.
        channel_names: names of the prediction's channels, default those that the Volume carries.
        segments: ids to select, that is to draw strongly and as 3-D meshes; default the largest 200 found.
        layout: "4panel", "xy", "3d", "xy-3d", ...
        open_browser: True opens a browser tab, False does not; default only from an interactive Python terminal.
        iframe: show the viewer inside the notebook, under its link.
        title: of the browser's tab.

    Returns:
        A view with `.url`, `.state_json()` and `.viewer` (a `neuroglancer.Viewer`).

    Raises:
        ValueError: nothing to show, shapes that differ, or names that do not fit the channels.
        TypeError: labels that are not integers.

    Example:
        >>> labels = np.zeros((8, 16, 16), np.uint64)
        >>> labels[2:6, 4:12, 4:12] = 2**40
        >>> view = show_neuroglancer(labels * 0.0, segmentation=labels, voxel_size=(30, 8, 8), open_browser=False)
        Neuroglancer: image, segmentation (8 x 16 x 16 voxels of 30 x 8 x 8 nm); run this in JupyterLab to look at them.
        >>> [layer["name"] for layer in view.state_json()["layers"]]
        ['image', 'segmentation']
    """
    names = channel_names or getattr(prediction, "attributes", {}).get("channels")
    arrays, kinds = _collect(image, prediction, segmentation, truth, extra or {}, names)
    shape = _common_shape(arrays)
    voxel_size = find_voxel_size(voxel_size, image, prediction, segmentation, truth, *(extra or {}).values())
    if voxel_size is not None and len(voxel_size) != 3:
        raise ValueError(f"The voxel size of a volume is (z, y, x); this one is {voxel_size}.")
    plans = {}
    for name, array in arrays.items():
        if kinds[name] == "segmentation":
            chosen = find_segments(array) if segments is None else [int(one) for one in segments]
            hidden = name == "truth" and "segmentation" in arrays
            plans[name] = LayerPlan("segmentation", f"local://{name}", segments=chosen, visible=not hidden)
        else:
            plans[name] = LayerPlan(kinds[name], f"local://{name}", value_range=value_range(array, kinds[name]))
    state = neuroglancer_state(plans, shape=shape, voxel_size=voxel_size, position=position, layout=layout, title=title)
    view = NeuroglancerView(arrays, plans, state, voxel_size, iframe=iframe)
    _latest_views.append(view)
    where = front_end()
    if open_browser or (open_browser is None and where == "terminal"):
        webbrowser.open(view.url)
    if where == "terminal":
        print(f"Neuroglancer: {view.url}")
    elif where == "batch":
        print(f"Neuroglancer: {view.describe()}; run this in JupyterLab to look at them.")
    return view


def front_end() -> str:
    """Who is looking: "notebook" (a kernel that a Jupyter server or an editor started), "terminal" or "batch".

    EMLIB_BATCH=1 always means batch: `emlib reproduce` sets it, also when it is called from inside JupyterLab.
    """
    if os.environ.get("EMLIB_BATCH"):
        return "batch"
    if "ipykernel" in sys.modules and "get_ipython" in dir(sys.modules.get("builtins")):
        shown = ("JPY_SESSION_NAME", "VSCODE_PID", "VSCODE_CWD", "COLAB_RELEASE_TAG")
        return "notebook" if any(name in os.environ for name in shown) else "batch"
    return "terminal" if hasattr(sys, "ps1") and sys.stdin is not None and sys.stdin.isatty() else "batch"


class NeuroglancerView:
    """What `show_neuroglancer` returns: a link in a notebook, a state to save, and the viewer behind them.

    The server starts when `url`, `viewer` or the notebook's link is first asked for.
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        plans: Mapping[str, LayerPlan],
        state: dict[str, Any],
        voxel_size: Sequence[float] | None,
        *,
        iframe: bool = False,
    ) -> None:
        self._arrays, self._plans, self._state = dict(arrays), dict(plans), state
        self._voxel_size, self._iframe = voxel_size, iframe
        self._viewer: Any = None

    @property
    def viewer(self) -> Any:
        """The `neuroglancer.Viewer`, started on 127.0.0.1 on first use."""
        if self._viewer is None:
            try:
                import neuroglancer
            except ModuleNotFoundError as error:
                raise ImportError(
                    'Neuroglancer is not installed; install it with pip install "emlib[notebooks]".'
                ) from error

            neuroglancer.set_server_bind_address("127.0.0.1")
            viewer = neuroglancer.Viewer(allow_credentials=False)
            state = {**self._state, "layers": [dict(layer) for layer in self._state["layers"]]}
            for layer in state["layers"]:
                layer["source"] = viewer.volume_manager.register_volume(self._local_volume(layer["name"]))
            viewer.set_state(state)
            self._viewer = viewer
        return self._viewer

    @property
    def url(self) -> str:
        """The address of the view, on this machine only."""
        return self.viewer.get_viewer_url()

    def state_json(self, sources: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The state as plain JSON, as it is in the browser now if a browser has been opened.

        Args:
            sources: layer -> address under which others can read it ("precomputed://https://...", "zarr://..."). A
                layer without one keeps "local://<layer>", which stands for the array that was shown here.

        Raises:
            ValueError: a source for a layer that does not exist.
        """
        unknown = set(sources or {}) - set(self._plans)
        if unknown:
            raise ValueError(f"There is no layer {min(unknown)!r}; the layers are {', '.join(self._plans)}.")
        state = self._state if self._viewer is None else self._viewer.state.to_json()
        addresses = {name: (sources or {}).get(name, plan.source) for name, plan in self._plans.items()}
        layers = [{**layer, "source": addresses.get(layer["name"], layer["source"])} for layer in state["layers"]]
        return {**state, "layers": layers}

    def describe(self) -> str:
        """Layers, shape and voxel size in one line."""
        shape = next(iter(self._arrays.values())).shape
        voxels = " x ".join(str(size) for size in shape) + " voxels"
        if self._voxel_size is not None:
            voxels += " of " + " x ".join(f"{step:g}" for step in self._voxel_size) + " nm"
        return f"{', '.join(self._plans)} ({voxels})"

    def _local_volume(self, name: str) -> Any:
        import neuroglancer

        spaces = dimensions(self._voxel_size, "zyx")
        space = neuroglancer.CoordinateSpace(
            names=list(spaces),
            scales=[scale for scale, _ in spaces.values()],
            units=[unit for _, unit in spaces.values()],
        )
        is_labels = self._plans[name].kind == "segmentation"
        served = ServedArray(self._arrays[name], labels=is_labels)
        # "npz" is compressed and works for every type; "raw" fails with this neuroglancer on numpy 2.
        return neuroglancer.LocalVolume(
            served, dimensions=space, volume_type="segmentation" if is_labels else "image", encoding="npz"
        )

    def __repr__(self) -> str:
        where = f" at {self.url}" if self._viewer is not None else ""
        return f"<Neuroglancer view of {self.describe()}{where}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        if front_end() == "batch":
            # The link would be dead when somebody reads the executed notebook, and its token is nobody's business.
            return {"text/plain": f"<Neuroglancer view of {self.describe()}>"}
        html = f'<a href="{self.url}" target="_blank">Open Neuroglancer</a>: {self.describe()}'
        if self._iframe:
            html += f'<br><iframe src="{self.url}" width="100%" height="600" style="border: none"></iframe>'
        return {"text/html": html, "text/plain": repr(self)}


def _collect(
    image: Any, prediction: Any, segmentation: Any, truth: Any, extra: Mapping[str, Any], names: Sequence[str] | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Layers in drawing order, name -> (z, y, x) array, and what each is."""
    arrays: dict[str, Any] = {}
    kinds: dict[str, str] = {}

    def add(name: str, array: Any, kind: str) -> None:
        if name in arrays:
            raise ValueError(f"Two layers are called {name!r}; give each its own name.")
        if kind == "segmentation" and not (array.dtype == bool or np.issubdtype(array.dtype, np.integer)):
            raise TypeError(f"{name} must hold integer labels, but it is {array.dtype}.")
        arrays[name], kinds[name] = array, kind

    if image is not None:
        add("image", as_array(image), "image")
    if prediction is not None:
        for name, channel in _channels(as_array(prediction), names).items():
            add(name, channel, "channel")
    for name, array in extra.items():
        array = as_array(array)
        labels = len(array.shape) == 3 and infer_kind(np.empty((0, 0), array.dtype)) == "labels"
        add(name, array, "segmentation" if labels else "image")
    for name, array in (("truth", truth), ("segmentation", segmentation)):
        if array is not None:
            add(name, as_array(array), "segmentation")
    if not arrays:
        raise ValueError("show_neuroglancer needs an image, a prediction, a segmentation, a truth or an extra layer.")
    return arrays, kinds


def _channels(prediction: Any, names: Sequence[str] | None) -> dict[str, Any]:
    if len(prediction.shape) == 3:
        return {names[0] if names else "prediction": prediction}
    if len(prediction.shape) != 4:
        raise ValueError(f"prediction must be (c, z, y, x) or (z, y, x); its shape is {tuple(prediction.shape)}.")
    count = prediction.shape[0]
    if names is not None and len(names) != count:
        raise ValueError(f"prediction has {count} channels, but {len(names)} channel names were given.")
    chosen = names or [f"prediction {channel}" for channel in range(count)]
    return {name: ServedArray(prediction, index=channel) for channel, name in enumerate(chosen)}


def _common_shape(arrays: Mapping[str, Any]) -> tuple[int, ...]:
    first_name, first = next(iter(arrays.items()))
    for name, array in arrays.items():
        if len(array.shape) != 3:
            raise ValueError(f"{name} must be (z, y, x); its shape is {tuple(array.shape)}.")
        if tuple(array.shape) != tuple(first.shape):
            raise ValueError(
                f"{first_name} and {name} must have the same shape; "
                f"they are {tuple(first.shape)} and {tuple(array.shape)}."
            )
    return tuple(first.shape)
