"""What the golden scripts share: where to write, and how."""
import argparse
import pathlib

from safetensors.torch import save_file


def output_folder():
    """The folder of --out, made when it is absent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, required=True)
    folder = parser.parse_known_args()[0].out
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write(path, tensors, **metadata):
    """One safetensors file; strings beside the tensors go into its metadata."""
    save_file({n: x.detach().contiguous() for n, x in tensors.items()}, path, metadata=metadata or None)
    print(f"{path.name}: {path.stat().st_size:,} bytes, {len(tensors)} tensors")
