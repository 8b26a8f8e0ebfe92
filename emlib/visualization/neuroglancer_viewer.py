"""Look into arrays and Volumes with Neuroglancer, from one line of a notebook."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from emlib.visualization.neuroglancer_layers import common_shape, is_rgb, plan_layers
from emlib.visualization.neuroglancer_state import LayerPlan, dimensions, neuroglancer_state
from emlib.visualization.panels import find_voxel_size
from emlib.visualization.served_array import ServedArray

# A viewer's link dies when nothing holds the viewer; the last few are held so that a line without an assignment works.
_latest_views: deque[NeuroglancerView] = deque(maxlen=4)


def show_neuroglancer(
    image: Any = None,
    prediction: Any = None,
    segmentation: Any = None,
    truth: Any = None,
    *,
    affinities: Any = None,
    segmentations: Mapping[str, Any] | None = None,
    visible: str | None = None,
    points: Mapping[str, Sequence[Any]] | None = None,
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
        affinities: (c, z, y, x) with 3, 6, 9 ... channels, uint8 or floats from 0 to 1, drawn as red (z), green (y) and
            blue (x); one layer for each three channels, those after the first hidden at first.
        segmentations: name -> integer labels (z, y, x), for example one a threshold: layers to switch between.
        visible: which one of truth, the segmentations and the segmentation is seen first, default the last of them.
        points: name -> positions (z, y, x) in voxels, or objects that have a `.position` and may have a
            `.description`, such as the events of `emlib.evaluation.neuron_errors`: lists to click through. "splits"
            are red and "merges" yellow.
        voxel_size: nm (z, y, x), default that of the first Volume which knows it.
        position: (z, y, x) in voxels to look at, default the first point, or the centre if there is none.
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
        ValueError: nothing to show, shapes that differ, names that do not fit the channels or that occur twice,
            affinities beyond 0 to 1, or a point outside the volume.
        TypeError: labels that are not integers.

    Example:
        >>> import numpy as np
        >>> labels = np.zeros((8, 16, 16), np.uint64)
        >>> labels[2:6, 4:12, 4:12] = 2**40
        >>> view = show_neuroglancer(labels * 0.0, segmentation=labels, voxel_size=(30, 8, 8), open_browser=False)
        Neuroglancer: image, segmentation (8 x 16 x 16 voxels of 30 x 8 x 8 nm); run this in JupyterLab to look at them.
        >>> [layer["name"] for layer in view.state_json()["layers"]]
        ['image', 'segmentation']
    """
    names = channel_names or getattr(prediction, "attributes", {}).get("channels")
    segmentations, extra = dict(segmentations or {}), dict(extra or {})
    arrays, plans = plan_layers(
        image=image,
        prediction=prediction,
        affinities=affinities,
        segmentation=segmentation,
        truth=truth,
        segmentations=segmentations,
        extra=extra,
        points=points or {},
        channel_names=names,
        segments=segments,
        visible=visible,
    )
    shape = common_shape(arrays)
    volumes = (image, prediction, affinities, segmentation, truth, *segmentations.values(), *extra.values())
    voxel_size = find_voxel_size(voxel_size, *volumes)
    if voxel_size is not None and len(voxel_size) != 3:
        raise ValueError(f"The voxel size of a volume is (z, y, x); this one is {voxel_size}.")
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
                if layer["name"] not in self._arrays:  # points: they are in the state already
                    continue
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
        unknown = set(sources or {}) - set(self._arrays)
        if unknown:
            raise ValueError(f"There is no layer {min(unknown)!r}; the layers are {', '.join(self._arrays)}.")
        state = self._state if self._viewer is None else self._viewer.state.to_json()
        addresses = {name: (sources or {}).get(name, self._plans[name].source) for name in self._arrays}
        layers = [{**layer, "source": addresses.get(layer["name"], layer["source"])} for layer in state["layers"]]
        return {**state, "layers": layers}

    def describe(self) -> str:
        """Layers, shape and voxel size in one line."""
        voxels = " x ".join(str(size) for size in common_shape(self._arrays)) + " voxels"
        if self._voxel_size is not None:
            voxels += " of " + " x ".join(f"{step:g}" for step in self._voxel_size) + " nm"
        counts = {name: f"{name} ({len(plan.points)})" for name, plan in self._plans.items() if plan.kind == "points"}
        return f"{', '.join(counts.get(name, name) for name in self._plans)} ({voxels})"

    def _local_volume(self, name: str) -> Any:
        import neuroglancer

        spaces = dimensions(self._voxel_size, "zyx")
        if is_rgb(self._arrays[name]):
            # A name that ends in ^ is a channel: read whole, and handed to the shader.
            spaces = {"c^": [1, ""], **spaces}
        space = neuroglancer.CoordinateSpace(
            names=list(spaces),
            scales=[scale for scale, _ in spaces.values()],
            units=[unit for _, unit in spaces.values()],
        )
        is_labels = self._plans[name].kind == "segmentation"
        array = self._arrays[name]
        served = array if is_rgb(array) else ServedArray(array, labels=is_labels)
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
