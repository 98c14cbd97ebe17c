"""One module per corpus: its folders, its file names, its texts."""
