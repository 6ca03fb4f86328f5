"""Pages that are made from the product itself: `python -m docs.src` writes the quickstarts, and the worked example with its picture."""
