"""The torch wing: networks, importers, export. Nothing outside imports it at module level."""
