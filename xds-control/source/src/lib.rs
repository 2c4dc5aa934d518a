//! Documents from a directory of YAML: atomic reload, the last good set kept, errors with file and line.
