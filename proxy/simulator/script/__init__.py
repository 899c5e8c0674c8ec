"""The double's script language: rules of `when` -> `reply` or `fault`.

`model` is its shape, the same for YAML files, HTTP control, the command line and Python.
"""
