"""The OpenAPI document as a page to read: it loads nothing and runs nothing."""

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Mapping
from string import Template
from typing import Any, Final

from app.base.version import VERSION

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #f6f7f9; --card: #fff; --soft: #5b6675;
  --line: #e1e5ea; --accent: #0b7a5b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebf0; --paper: #12161c; --card: #1a2029;
  --soft: #97a3b3; --line: #2a323d; --accent: #43c59e; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1rem 6rem; background: var(--paper);
  color: var(--ink); font: 16px/1.6 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.75rem; letter-spacing: -0.02em; }
h2 { margin: 3rem 0 0.75rem; font-size: 1.25rem; }
h3 { margin: 1.25rem 0 0.25rem; font-size: 0.8rem; letter-spacing: 0.08em;
  text-transform: uppercase; color: var(--soft); }
p { margin: 0.5rem 0; }
a { color: var(--accent); }
code { font: 0.875em/1.6 ui-monospace, monospace; }
nav ul { margin: 0.25rem 0; padding: 0; list-style: none; columns: 20rem; }
nav a { text-decoration: none; }
article { margin: 1rem 0; padding: 1.25rem 1.5rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 0.75rem; }
article > header { display: flex; flex-wrap: wrap; gap: 0.25rem 0.75rem; align-items: baseline; }
.method { font: 600 0.8rem/1 ui-monospace, monospace; color: var(--accent); min-width: 3.5rem; }
.path { font: 600 1rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 0.9rem; }
th, td { padding: 0.4rem 0.75rem 0.4rem 0; border-top: 1px solid var(--line); text-align: left;
  vertical-align: top; }
thead th { border-top: 0; color: var(--soft); font-weight: 500; }
"""

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Switchboard: the HTTP interface</title>
<style>$style</style>
</head>
<body>
<header>
<h1>Switchboard</h1>
<p class="soft">The HTTP interface of version $version · <a href="$openapi">OpenAPI 3.1</a></p>
<p>$about</p>
</header>
<nav aria-label="Routes">$contents</nav>
<main>
$operations
<section aria-labelledby="objects"><h2 id="objects">Objects</h2>
$objects
</section>
</main>
</body>
</html>
""")

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
}

_CREDENTIALS: Final = {
    "key": "an API key",
    "session": "a session",
    "cookie": "the cookie",
    "metrics": "the metrics token",
}

Schema = Mapping[str, Any]


def make_page(whole: Schema, path: str) -> str:
    """Return the page of this document, which is served at `path`."""
    return _PAGE.substitute(
        style=_STYLE,
        version=html.escape(VERSION),
        openapi=path,
        about=_prose(whole["info"]["description"]),
        contents="".join(_contents(whole, tag["name"]) for tag in whole["tags"]),
        operations="".join(_section(whole, tag["name"]) for tag in whole["tags"]),
        objects="".join(
            _object(name, schema) for name, schema in sorted(whole["components"]["schemas"].items())
        ),
    )


def _tagged(whole: Schema, tag: str) -> Iterable[tuple[str, str, Schema]]:
    for path, operations in whole["paths"].items():
        for method, operation in operations.items():
            if tag in operation["tags"]:
                yield method.upper(), path, operation


def _contents(whole: Schema, tag: str) -> str:
    lines = "".join(
        f'<li><a href="#{operation["operationId"]}"><code>{method}</code> '
        f"{html.escape(operation['summary'])}</a></li>"
        for method, _, operation in _tagged(whole, tag)
    )
    return f"<h3>{html.escape(tag)}</h3><ul>{lines}</ul>"


def _section(whole: Schema, tag: str) -> str:
    articles = "".join(_operation(*one) for one in _tagged(whole, tag))
    return f"<section><h2>{html.escape(tag)}</h2>\n{articles}</section>\n"


def _operation(method: str, path: str, operation: Schema) -> str:
    parts = [
        f'<article id="{operation["operationId"]}"><header>',
        f'<span class="method">{method}</span><span class="path">{html.escape(path)}</span>',
        f"<span>{html.escape(operation['summary'])}</span></header>",
        f'<p class="soft">{_credentials(operation["security"])}</p>',
    ]
    if "description" in operation:
        parts.append(f"<p>{_prose(operation['description'])}</p>")
    if "parameters" in operation:
        parts += ["<h3>Parameters</h3>", _table(map(_parameter, operation["parameters"]))]
    if "requestBody" in operation:
        parts.append(f"<h3>Body</h3><p>{_bodies(operation['requestBody'])}</p>")
    parts += ["<h3>Answers</h3>", _table(map(_response, operation["responses"].items()))]
    return "".join([*parts, "</article>\n"])


def _credentials(security: list[Schema]) -> str:
    if not security:
        return "Open to all."
    ways = [_CREDENTIALS[name] if one else "nothing" for one in security for name in one or [""]]
    return f"Needs {' or '.join(ways)}."


def _parameter(parameter: Schema) -> tuple[str, str, str]:
    needed = "required" if parameter["required"] else "optional"
    what = f"{_prose(parameter['description'])} {_limits(parameter['schema'])}"
    kind = f"{parameter['in']}, {needed}"
    return f"<code>{html.escape(parameter['name'])}</code>", kind, what


def _response(response: tuple[str, Schema]) -> tuple[str, str, str]:
    status, answer = response
    return f"<code>{status}</code>", _prose(answer["description"]), _bodies(answer)


def _bodies(holder: Schema) -> str:
    content = holder.get("content", {})
    return ", ".join(f"{_kind(one['schema'])} ({media})" for media, one in content.items()) or "–"


def _object(name: str, schema: Schema) -> str:
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{html.escape(field)}</code>",
            f"{_kind(one)}{'' if field in required else ', optional'}",
            f"{_prose(one.get('description', ''))} {_limits(one)}",
        )
        for field, one in schema.get("properties", {}).items()
    ]
    about = _prose(schema.get("description", ""))
    return (
        f'<article id="{name}"><header><span class="path">{name}</span></header>'
        f"<p>{about}</p>{_table(rows)}</article>\n"
    )


def _kind(schema: Schema) -> str:
    """Return the type in words, with links to objects."""
    if "$ref" in schema:
        name = html.escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(_kind(one) for one in schema[word])
    if "const" in schema:
        return f"<code>{html.escape(str(schema['const']).lower())}</code>"
    if "enum" in schema:
        return " or ".join(f"<code>{html.escape(str(one))}</code>" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return html.escape(schema.get("type", "any JSON"))


_LIMITS: Final = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "default": "{} if it is left out",
}


def _limits(schema: Schema) -> str:
    said = [text.format(schema[name]) for name, text in _LIMITS.items() if name in schema]
    return f'<span class="soft">{html.escape(", ".join(said))}</span>' if said else ""


def _prose(text: str) -> str:
    """Return the text with `words` in backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tbody>{lines}</tbody></table></div>'
