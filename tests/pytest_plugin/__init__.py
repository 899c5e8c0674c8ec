"""The plugin, used in small projects that pytest's own `pytester` makes."""
