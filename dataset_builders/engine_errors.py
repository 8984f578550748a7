"""What an engine runs out of, memory or disk, told in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import UserError


@contextmanager
def plain_engine_errors(memory_limit: str) -> Iterator[None]:
    """For work of an engine: that it has too little memory, or no disk to spill to, becomes a UserError."""
    try:
        yield
    except Exception as error:
        # By what it says: what fails while rows are streamed is raised by Arrow, and in Java by Py4J.
        text = str(error)
        if isinstance(error, OSError) and error.errno:  # of this process's own files
            raise
        if "max_temp_directory_size" in text or "No space left on device" in text:
            sentence = (
                "The disk is full where the engine spills what is beyond --memory-limit. Make room, give an --out on another "
                "disk, or a larger --memory-limit."
            )
        elif "Out of Memory Error" in text or "java.lang.OutOfMemoryError" in text:
            sentence = (
                f"The engine ran out of memory at --memory-limit {memory_limit}. Give a larger --memory-limit, fewer "
                "--threads, a smaller --size or fewer --tasks."
            )
        else:
            raise
        raise UserError(sentence) from None
