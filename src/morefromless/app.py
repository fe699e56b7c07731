"""`mfl app`: a web page that shows what an encoder predicts for a patch.

Werkzeug, already a dependency of TensorBoard, serves it to this computer only. There is the page,
and one address that accepts an image file and returns JSON.
"""

import json
import os
import socket
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from werkzeug.exceptions import HTTPException, NotFound, RequestEntityTooLarge
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from morefromless.analysis.inspection import NEIGHBOURS, Inspector
from morefromless.analysis.overlay import Pictures
from morefromless.config import AppConfig
from morefromless.data.images import image_shape
from morefromless.devices import resolve_device
from morefromless.errors import ConfigError, UnreadablePatch
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.evaluation.loading import load_encoder
from morefromless.inference.inputs import extent_remarks
from morefromless.inference.patches import read_patch
from morefromless.inference.predict import find_probe, labelled_store
from morefromless.report import pages
from morefromless.report.words import modality_title

HOST = "127.0.0.1"
MAX_FILE_BYTES = 16 * 2**20
"""Maximum size of an accepted file."""
MAX_PIXELS = 2048**2
"""Maximum number of pixels of an accepted image."""


def open_server(config: AppConfig) -> BaseWSGIServer:
    """Create the server of the page; it answers requests after `serve_forever` is called.

    Raises `ConfigError` if the port is in use or there is no probe.
    """
    frozen = load_encoder(config.encoder, config.branch, trust=config.trust)
    device, folder = resolve_device(config.device), Path(config.encoder)
    task = config.task or frozen.task
    probe = find_probe(frozen, folder, config.store, task, device)
    store = labelled_store(folder, config.store)
    application = Application(Inspector(frozen, probe, store, task, device))
    try:
        listener = socket.create_server((HOST, config.port))
    except OSError as error:
        raise ConfigError(
            f"Port {config.port} cannot be used ({os.strerror(error.errno or 0)}); give another "
            "--port."
        ) from error
    with listener:  # the server duplicates the descriptor
        return make_server(
            HOST,
            0,
            application,
            threaded=True,
            request_handler=QuietRequestHandler,
            fd=listener.fileno(),
        )


class Application:
    """The page and its JSON endpoint, as a WSGI application."""

    def __init__(self, inspector: Inspector) -> None:
        self.inspector = inspector
        self._page = _page(inspector)

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return self._respond(LocalRequest(environ))(environ, start_response)

    def _respond(self, request: "LocalRequest") -> Response:
        try:
            _ = request.host  # raises for any other host name
            match request.method, request.path:
                case "GET", "/":
                    return Response(self._page, mimetype="text/html")
                case "POST", "/inspect":
                    return _json(self._inspect(request.get_data(cache=False)))
            raise NotFound
        except UnreadablePatch as error:
            return _json({"error": f"This image cannot be used: {error}."}, 422)
        except RequestEntityTooLarge:
            return _json({"error": TOO_LARGE_MESSAGE}, 413)
        except HTTPException as error:
            return Response(error.description, error.code, mimetype="text/plain")

    def _inspect(self, data: bytes) -> dict[str, Any]:
        height, width = image_shape(data)
        if height * width > MAX_PIXELS:
            raise UnreadablePatch(
                f"{width:,} x {height:,} px is too large for a patch; cut it into patches"
            )
        patch = read_patch(data)
        inspection = self.inspector(patch)
        return {
            "remarks": list(extent_remarks("The image", len(patch), self.inspector.frozen)),
            "pictures": {
                "patch": _data_uri(patch),
                "input": _data_uri(inspection.input),
                "gradcam": _data_uri(inspection.gradcam),
            },
            "probabilities": list(inspection.probabilities.items()),
            "outlier": inspection.outlier_percentile,
            "neighbours": [
                {**vars(neighbour), "picture": _data_uri(neighbour.picture)}
                for neighbour in inspection.neighbours
            ],
        }


class LocalRequest(Request):
    """A request to this computer's own host names, which pages of other sites cannot send."""

    max_content_length = MAX_FILE_BYTES
    trusted_hosts = [HOST, "localhost"]  # noqa: RUF012 - as Werkzeug declares it


TOO_LARGE_MESSAGE = f"The file is larger than {MAX_FILE_BYTES // 2**20} MiB; give one patch."


class QuietRequestHandler(WSGIRequestHandler):
    """A request handler that does not log requests."""

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def _page(inspector: Inspector) -> str:
    frozen = inspector.frozen
    return pages.render(
        "app",
        {"bytes": MAX_FILE_BYTES, "too_large": TOO_LARGE_MESSAGE},
        served=True,
        title=frozen.title,
        modality=modality_title(frozen.modality_spec),
        facts=list(_facts(frozen)),
        neighbours=NEIGHBOURS if inspector.store else 0,
    )


def _facts(frozen: FrozenEncoder) -> Iterable[tuple[str, str]]:
    if frozen.data:
        yield "trained on", frozen.data.title
    if frozen.side:
        yield "patches of the training", f"{frozen.side} × {frozen.side} px"
    if frozen.um_per_px:
        yield "magnification", f"{frozen.um_per_px:g} µm per pixel"
    yield "input", f"{frozen.modality_spec} at {frozen.size} px"
    yield "features", f"{frozen.encoder.width:,}"


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, mimetype="application/json")


def _data_uri(picture: Pictures | None) -> str | None:
    """Encode a picture as a data URI."""
    if picture is None:
        return None
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return pages.data_uri(file.getvalue(), "image/png")
