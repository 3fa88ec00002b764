"""An answer on a screen, as a page, as files of other tools."""
