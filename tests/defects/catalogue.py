"""All defects, in the order of the modules."""

from tests.defects import decoding, files, jobs, live, meaning, native, outputs

DEFECTS = [
    *decoding.DEFECTS,
    *native.DEFECTS,
    *meaning.DEFECTS,
    *files.DEFECTS,
    *live.DEFECTS,
    *outputs.DEFECTS,
    *jobs.DEFECTS,
]
