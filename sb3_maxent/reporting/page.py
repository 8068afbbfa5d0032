"""A report as one page of HTML: no script, nothing loaded from elsewhere, light and dark, from a phone to a large screen."""

import re
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from sb3_maxent.reporting.looks import INK, PAPER

# The section that is folded
FOLDED = "Settings"
PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
:root { --paper: #fff; --ink: #1f2328; --soft: #59636e; --line: #d8dee4; --tint: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181c; --ink: #e4e8ec; --soft: #9aa4af; --line: #363d45; --tint: #1f242a; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .5rem 0 1rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.8rem 0 .8rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.1rem; line-height: 1.35; margin: 1.8rem 0 .6rem; }
h1, h2, h3, p, li { overflow-wrap: anywhere; }
p, ul { margin: .7rem 0; max-width: 46rem; }
ul { padding-left: 1.3rem; }
li { margin: .35rem 0; }
blockquote { margin: 1rem 0; padding: .1rem 1rem; border-left: 4px solid #d55e00; background: var(--tint); }
nav { margin: .7rem 0; color: var(--soft); overflow-wrap: anywhere; }
details { overflow: hidden; }
a { color: inherit; }
summary { font-size: 1.3rem; font-weight: 600; cursor: pointer; margin-top: 2.8rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
details h2 { display: none; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
h2 code, h3 code { font-size: 1em; font-weight: inherit; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .8rem .4rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { font-weight: 600; color: var(--soft); border-bottom-width: 2px; }
th:not(:first-child), td:not(:first-child) { padding-left: .8rem; }
.settings td { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
.figure { display: block; overflow-x: auto; margin: 1rem 0; }
.figure svg { display: block; width: 100%; min-width: 20rem; max-width: 40rem; height: auto; }
@media print { body { max-width: none; padding: 0; } h2, h3 { break-after: avoid; } .figure, table { break-inside: avoid; } }
</style>
</head>
<body>
$body
</body>
</html>
""")


def _inline(svg: str, prefix: str) -> str:
    """
    :param svg: an SVG file of Matplotlib's
    :param prefix: what makes its ids unique in the page
    :return: the element to put into a page: in the reader's colours, without the file's head and metadata
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"""( id="|url\(#|href="#)""", rf"\g<1>{prefix}-", svg)
    svg = svg.replace("<title>", f'<title id="{prefix}-title">', 1)
    svg = svg.replace("<svg ", f'<svg role="img" aria-labelledby="{prefix}-title" ', 1)
    return svg.replace(INK, "currentColor").replace(f"fill: {PAPER}", "fill: none").strip()


def write_page(folder: Path, name: str, title: str, blocks: list[str]) -> Path:
    """
    Write a report as ``<name>.md`` and ``<name>.html``, the same in a single file.

    :param folder: where to; the figures that the text refers to are there
    :param name: of the files
    :param title: of the page
    :param blocks: of Markdown
    :return: path of the HTML page
    """
    markdown = "\n\n".join(blocks) + "\n"
    (folder / f"{name}.md").write_text(markdown, encoding="utf-8")
    page = folder / f"{name}.html"
    page.write_text(html_of(markdown, folder, title), encoding="utf-8")
    return page


def html_of(markdown: str, folder: Path, title: str) -> str:
    """
    :param markdown: the report
    :param folder: where its figures are
    :param title: of the page
    :return: the page, with its figures in it
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")

    def image(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        path = Path(tokens[index].attrs["src"])
        return f'<span class="figure">{_inline((folder / path).read_text(encoding="utf-8"), path.stem)}</span>'

    def table_open(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        settings = tokens[index + 4].content == "setting"  # table, thead, tr, th, text
        return f'<div class="scroll{" settings" if settings else ""}" tabindex="0"><table>'

    parser.add_render_rule("image", image)
    parser.add_render_rule("table_open", table_open)
    parser.add_render_rule("table_close", lambda *_: "</table></div>")
    tokens = _with_sections(parser.parse(markdown))
    return PAGE.substitute(title=escape(title), body=parser.renderer.render(tokens, parser.options, {}))


def _with_sections(tokens: list[Token]) -> list[Token]:
    """Links to the sections after the title, and the settings folded, of which most readers need none"""

    def raw(html: str) -> Token:
        return Token("html_block", "", 0, content=html)

    page: list[Token] = []
    links: list[str] = []
    folded = False
    for token, text in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and token.tag == "h2" and text is not None:
            if folded:
                page.append(raw("</details>\n"))
            name = text.content.replace("`", "")
            folded = name == FOLDED
            if folded:
                page.append(raw(f'<details id="section-{len(links)}"><summary>{escape(name)}</summary>\n'))
            else:
                token.attrSet("id", f"section-{len(links)}")
            links.append(f'<a href="#section-{len(links)}">{escape(name)}</a>')
        page.append(token)
    if folded:
        page.append(raw("</details>\n"))
    after_title = next((i for i, token in enumerate(page) if token.type == "heading_close"), -1) + 1
    return [*page[:after_title], raw(f'<nav aria-label="Sections">{" · ".join(links)}</nav>\n'), *page[after_title:]]
