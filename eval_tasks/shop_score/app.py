"""The metric's page: rows in a table, scores as JSON. evaluate's own widget is written for gradio 3."""

import json
from pathlib import Path

import evaluate
import gradio as gr

HERE = Path(__file__).parent
COLUMNS = ["predictions", "references", "tasks"]
EXAMPLES = [
    ["4 stars", "4", "review_rating"],
    ["2,1,3,4,5", "[0.1, 1.0, 0.0, 0.0, 0.0]", "query_product_ranking"],
    ["3, 7", "[7, 9]", "also_buy"],
    ["red shoes", "red running shoes", "query_generation"],
]

metric = evaluate.load(str(HERE / "shop_score.py"))


def compute(rows: list[list[str]], intervals: bool) -> tuple[str, str]:
    """The scores as JSON text, or what is wrong with the rows."""
    filled = [[cell or "" for cell in row] for row in rows if any(row)]
    if not filled:
        return "", "Fill in a row first."
    columns = dict(zip(COLUMNS, zip(*filled, strict=True), strict=True))
    try:
        return json.dumps(metric.compute(**columns, intervals=intervals), indent=1), ""
    except ValueError as error:
        return "", str(error)


with gr.Blocks(title="Shop score") as demo:
    gr.Markdown((HERE / "README.md").read_text(encoding="utf-8").split("\n---\n", 1)[1])
    table = gr.Dataframe(EXAMPLES, headers=COLUMNS, datatype="str", type="array", label="Rows")
    wanted = gr.Checkbox(label="95 % intervals")
    button = gr.Button("Score", variant="primary")
    wrong = gr.Markdown()
    scores = gr.Code(language="json", label="Scores")
    button.click(compute, [table, wanted], [scores, wrong])

if __name__ == "__main__":
    demo.launch()
