"""Maps of feature space in two dimensions: PCA, kernel PCA, sparse PCA, LDA, t-SNE, with silhouette scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.files.output_file import save_figure
from streamcodec.features.pooling import pooled
from streamcodec.research.experiments.probe_data import LabelledCrops

Points = NDArray[np.float64]
Map = tuple[Points, NDArray[np.int64]]
"""Coordinates, and which crops they are."""
KERNELS = ("rbf", "poly", "sigmoid", "cosine")
METHODS = ("PCA", *(f"kernel PCA, {kernel}" for kernel in KERNELS), "sparse PCA", "LDA", "t-SNE")
PERPLEXITY = 30.0
COLOURS = (
    "#c8102e", "#2f6f9f", "#e0a030", "#3d8b54", "#7b4fa0", "#555555", "#d96fa8", "#16a0a0", "#8c6239", "#9ab010",
)  # fmt: skip


def map_points(crops: LabelledCrops, name: str, method: str, seed: int, held_out: NDArray[np.int64]) -> Map:
    """Coordinates of crops by pooled, standardised features.

    LDA is told the classes: it is fitted to the other crops and shows those in ``held_out``, whose groups it has not
    seen. The other methods show all.

    Shape: ``[points, 1 or 2]`` and ``[points]``.
    """
    from sklearn.decomposition import PCA, KernelPCA, MiniBatchSparsePCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.manifold import TSNE

    values = pooled(crops.features[name]).astype(np.float64)
    values = (values - values.mean(0)) / (values.std(0) + 1e-9)
    everything = np.arange(len(values))
    if method == "LDA":
        fitted = np.setdiff1d(everything, held_out)
        axes = min(2, len(np.unique(crops.classes[fitted])) - 1)
        model = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto", n_components=axes)
        model.fit(values[fitted], crops.classes[fitted])
        return np.asarray(model.transform(values[held_out])), held_out
    if method == "PCA":
        return np.asarray(PCA(2, svd_solver="full").fit_transform(values)), everything
    if method.startswith("kernel PCA"):
        # A width of the order of the distances that there are: the median of the squared ones.
        sample = values[:: max(1, len(values) // 200)]
        width = float(np.median(((sample[:, None] - sample[None]) ** 2).sum(-1)[np.triu_indices(len(sample), 1)]))
        kernel = method.removeprefix("kernel PCA, ")
        model = KernelPCA(2, kernel=kernel, gamma=None if kernel == "cosine" else 1.0 / width, eigen_solver="dense")
        return np.asarray(model.fit_transform(values)), everything
    if method == "sparse PCA":
        return np.asarray(MiniBatchSparsePCA(2, alpha=1.0, random_state=seed).fit_transform(values)), everything
    neighbours = min(PERPLEXITY, (len(values) - 1) / 3.0)
    model = TSNE(2, perplexity=neighbours, init="pca", random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(values), np.float64), everything


def silhouette(points: Points, classes: NDArray[np.int64]) -> float | None:
    """Mean silhouette of the classes: 1 apart, 0 touching, below 0 mixed; None for a single class.

    Shape: ``[points, axes]``, ``[points]``.
    """
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(classes)) < len(classes):
        return None
    return round(float(silhouette_score(points, classes)), 4)


def draw_maps(crops: LabelledCrops, maps: dict[tuple[str, str], Map], path: Path) -> None:
    """A row of maps for each kind of features, a column for each method, one colour per class."""
    from matplotlib.figure import Figure

    rows = list(dict.fromkeys(name for name, _ in maps))
    figure = Figure(figsize=(2.4 * len(METHODS), 2.4 * len(rows) + 0.5), layout="constrained")
    panels = figure.subplots(len(rows), len(METHODS), squeeze=False)
    for line, name in zip(panels, rows, strict=True):
        for panel, method in zip(line, METHODS, strict=True):
            points, which = maps[name, method]
            second = points[:, 1] if points.shape[1] > 1 else np.zeros(len(points))
            for k, label in enumerate(crops.names):
                inside = crops.classes[which] == k
                panel.scatter(
                    points[inside, 0], second[inside], s=5, alpha=0.7, linewidths=0, label=label,
                    color=COLOURS[k % len(COLOURS)],
                )  # fmt: skip
            score = silhouette(points, crops.classes[which])
            panel.set_title(f"{name}: {method}" + ("" if score is None else f", {score:.2f}"), fontsize=7)
            panel.set_xticks([])
            panel.set_yticks([])
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=10, fontsize=7, markerscale=2, frameon=False)
    save_figure(figure, path, dpi=90, metadata={"Software": None})


def draw_confusion(names: tuple[str, ...], confusion: dict[str, NDArray[np.int64]], path: Path) -> None:
    """Classes (rows) and what they were taken for (columns), in % of each; a panel for each kind of features."""
    from matplotlib.figure import Figure

    size = 1.2 + 0.45 * len(names)
    figure = Figure(figsize=((size + 0.4) * len(confusion), size + 1.0), layout="constrained")
    for panel, (title, counts) in zip(
        figure.subplots(1, len(confusion), squeeze=False)[0], confusion.items(), strict=True
    ):
        share = 100.0 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
        panel.imshow(share, cmap="Blues", vmin=0.0, vmax=100.0)
        for row, column in np.ndindex(*share.shape):
            dark = share[row, column] > 50.0
            panel.text(
                column, row, f"{share[row, column]:.0f}", ha="center", va="center", fontsize=7,
                color="white" if dark else "black",
            )  # fmt: skip
        panel.set_title(title, fontsize=8)
        panel.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        panel.set_yticks(range(len(names)), names, fontsize=7)
    save_figure(figure, path, dpi=90, metadata={"Software": None})
