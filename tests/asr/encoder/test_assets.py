"""Assets by name: fetched once, from a server of the test's own, and gone on with where a download broke off."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from huggingface_hub import cached_assets_path

from asr.encoder.assets import ASSETS, asset_files
from lm.errors import InputError


class Server(SimpleHTTPRequestHandler):
    """Files of a folder, the end of one for a Range; what is asked for is noted."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        begin = self.headers.get("Range", "")
        self.asked.append((self.path, begin))
        path = Path(self.translate_path(self.path))
        if not begin or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        first = int(begin.removeprefix("bytes=").rstrip("-"))
        if first >= len(content):
            self.send_error(416)
            return
        self.send_response(206)
        self.send_header("Content-Length", str(len(content) - first))
        self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[first:])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of what can be fetched."""
    folder = tmp_path / "server"
    for kind in ("mms", "fairseq/wav2vec"):
        (folder / kind).mkdir(parents=True)
    monkeypatch.setattr(Server, "asked", [])
    served = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=str(folder)))
    monkeypatch.setattr("asr.encoder.assets.FILES", f"http://127.0.0.1:{served.server_port}/")
    cache = functools.partial(cached_assets_path, assets_dir=tmp_path / "cache")
    monkeypatch.setattr("asr.encoder.assets.cached_assets_path", cache)
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_OFFLINE", False)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield folder
    served.shutdown()
    served.server_close()


def test_an_asset_is_fetched_once_with_the_tokenizer_of_its_release(server: Path) -> None:
    for name in ("omniASR-CTC-300M.pt", "omniASR_tokenizer.model", "omniASR-CTC-300M-v2.pt",
                 "omniASR_tokenizer_written_v2.model"):  # fmt: skip
        (server / "mms" / name).write_text(name)
    for _ in range(2):
        for asset, files in (
            ("omniASR_CTC_300M", ["omniASR-CTC-300M.pt", "omniASR_tokenizer.model"]),
            ("omniASR_CTC_300M_v2", ["omniASR-CTC-300M-v2.pt", "omniASR_tokenizer_written_v2.model"]),
        ):
            found = asset_files(asset)
            assert found
            assert [path.read_text() for path in found if path] == files
    assert len(Server.asked) == 4


def test_names_of_the_hub_and_of_fairseq2(server: Path) -> None:
    (server / "mms" / "omniASR-W2V-1B.pt").write_text("omnilingual")
    (server / "fairseq/wav2vec/wav2vec2_fs2_small.pt").write_text("fairseq2")
    for asset, content in (("facebook/omniASR-W2V-1B", "omnilingual"), ("wav2vec2_base", "fairseq2")):
        found = asset_files(asset)
        assert found
        assert found[0].read_text() == content
        assert found[1] is None


@pytest.mark.parametrize(("left", "asked"), [("the whole ", "bytes=9-"), ("the whole file", "bytes=13-")])
def test_a_download_that_broke_off_goes_on(server: Path, tmp_path: Path, left: str, asked: str) -> None:
    (server / "mms" / "omniASR-W2V-3B.pt").write_text("the whole file")
    begun = tmp_path / "cache/loquela/default/default/omniASR-W2V-3B.pt.incomplete"
    begun.parent.mkdir(parents=True)
    begun.write_text(left)
    found = asset_files("omniASR_W2V_3B")
    assert found
    assert found[0].read_text() == "the whole file"
    assert Server.asked == [("/mms/omniASR-W2V-3B.pt", asked)]
    assert not begun.exists()


def test_what_cannot_be_had_is_told_in_one_line(server: Path) -> None:
    with pytest.raises(InputError, match=r"omniASR_CTC_1B cannot be fetched .*404.* or give the \.pt"):
        asset_files("omniASR_CTC_1B")
    for unread in ("omniASR_LLM_7B", "omniASR_CTC_5B", "omniASR_W2V_1B_v2"):
        with pytest.raises(InputError, match="only omniASR_W2V_ and omniASR_CTC_"):
            asset_files(unread)


def test_other_names_are_no_assets(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asset_files("facebook/wav2vec2-base") is None
    # A folder of one's own comes first.
    monkeypatch.chdir(tmp_path)
    for name in ASSETS:
        Path(name).mkdir()
        assert asset_files(name) is None
