"""What servers answer when asked for a folder: directory pages, and S3's listings."""

import re
import urllib.parse
from html.parser import HTMLParser

from lxml import etree


def bucket_folders(page: bytes) -> list[str] | None:
    """The names of the folders that S3's answer to a listing names; None if it is another page."""
    try:
        root = etree.fromstring(page, etree.XMLParser(resolve_entities=False, no_network=True))
    except (etree.XMLSyntaxError, ValueError):
        return None
    if etree.QName(root).localname != "ListBucketResult":
        return None
    prefixes = [element.text or "" for element in root.iterfind("{*}CommonPrefixes/{*}Prefix")]
    return [prefix.rstrip("/").rpartition("/")[2] for prefix in prefixes]


class DirectoryPage(HTMLParser):
    """A directory page: links to the page's own folder, the text after each, and its folders."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._name: str | None = None
        self._inside = False
        self.files: dict[str, str] = {}
        self.folders: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag != "a" or not href:
            return
        target = urllib.parse.urljoin(self._url, href)
        name = urllib.parse.unquote(target.removeprefix(self._url))
        self._name = None
        if target.startswith(self._url) and name and not set(name) & set('/\\?#"\0'):
            self._name, self._inside = name, True
            self.files.setdefault(name, "")
        elif target.startswith(self._url) and re.fullmatch(r"[^/\\?#\"\0]+/", name):
            self.folders.append(name[:-1])

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._name is not None and not self._inside:
            self.files[self._name] += data
