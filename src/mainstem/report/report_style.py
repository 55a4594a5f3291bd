"""The style of a report that stands alone in one file: the page's colours and type, without its navigation."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--paper:#faf9f6;--ink:#17201e;--soft:#55625e;--line:#dcdfd9;--strong:#7b8781;--accent:#0a6a72;
--holds:#1a6b3c;--undecided:#8a5a00;--fails:#a8322a;--stem:#0a6a72}
@media (prefers-color-scheme:dark){:root{--paper:#101517;--ink:#e7ecea;--soft:#a3b2ad;--line:#2c3639;--strong:#75857f;
--accent:#62c6cd;--holds:#6cc48e;--undecided:#e0ad4d;--fails:#f28d83;--stem:#2b8b93}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 "Inter","Segoe UI",Roboto,"Helvetica Neue",
"Liberation Sans",Arial,sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:break-word}
main{max-width:72rem;margin:0 auto;padding:2rem 1.25rem 3rem;display:grid;grid-template-columns:minmax(0,1fr);gap:2.25rem}
h1,h2,h3,p,ul,figure{margin:0}
h1{font-size:clamp(1.5rem,1.1rem + 1.6vw,2.15rem);line-height:1.2}
h2{font-size:1.25rem}h3{font-size:1rem}
main>p+h1{margin-top:-1.5rem}.lead{color:var(--soft);margin-top:-1.5rem}
section,figure{display:grid;grid-template-columns:minmax(0,1fr);gap:.9rem}section{gap:1.2rem}
.marks{display:flex;gap:1rem}.verdict{font-weight:700}
.badge{border:1px dashed var(--undecided);color:var(--undecided);border-radius:99px;padding:0 .65rem;font-size:.875rem}
.gates{list-style:none;padding:0;display:grid;gap:.3rem}
svg{display:block;max-width:100%;height:auto}.narrow{display:none}
@media (max-width:62rem){.wide{display:none}.narrow{display:block}}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem;line-height:1.4}
caption{text-align:left;font-weight:650;padding-bottom:.4rem}
th,td{text-align:left;vertical-align:top;padding:.4rem .9rem .4rem 0;border-bottom:1px solid var(--line)}
thead th{font-weight:500;font-size:.85rem;color:var(--soft);border-bottom-color:var(--strong);vertical-align:bottom}
.id{white-space:nowrap}
.number{text-align:right;white-space:nowrap}.under{font-size:.875rem;color:var(--soft)}
summary{cursor:pointer;color:var(--accent);min-height:1.6rem}
@media (max-width:40rem){td:not(.number,.id){min-width:7rem}}
@media print{details:not([open]){display:none}section{break-inside:avoid-page}}
"""
"""The whole style sheet."""
