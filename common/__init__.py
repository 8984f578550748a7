"""The foundation: tasks, answers, scoring, datasets, files and the Hub. It imports no other folder of the project.

Importing it also sets how long a waiting compute thread spins. By default the threads of GNU OpenMP, which torch computes with,
spin for as long as they wait, and one other busy process makes them several times slower (docs/decisions/busy-machine.md). The
variable is read when torch is loaded, so this package is imported before torch. A user's own setting stays.
"""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
