"""Files that students hand in, good and bad, for the tests of exercises/: texts of box_iou.py, and the code that each gets."""

RIGHT = """
import numpy as np

def box_iou(boxes1, boxes2):
    out = np.zeros((len(boxes1), len(boxes2)), np.result_type(boxes1, boxes2))
    for i, p in enumerate(boxes1):
        for j, q in enumerate(boxes2):
            w = max(0, min(p[2], q[2]) - max(p[0], q[0]))
            h = max(0, min(p[3], q[3]) - max(p[1], q[1]))
            union = (p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1]) - w * h
            out[i, j] = w * h / union if union > 0 else 0
    return out
"""


def body(*lines, top=""):
    """A box_iou whose body is these lines."""
    return "\n".join([top, "def box_iou(boxes1, boxes2):", *(f"    {line}" for line in lines), ""])


def right_but(line, top=""):
    """The right function with one more line at its beginning."""
    return top + RIGHT.replace("    out = np", f"    {line}\n    out = np", 1)


# {what it does: (text, the diagnosis that it gets)}. OUTSIDE stands for a folder that nothing may touch.
HOSTILE = {
    "endless loop": (body("while True: pass"), "time-limit"),
    "sleeps": (body("time.sleep(1000)", top="import time"), "time-limit"),
    "memory bomb": (body("kept = []", "while True: kept.append(np.ones(10**6))", top="import numpy as np"), "memory-limit"),
    "one huge array": (body("return bytearray(10**13)"), "memory-limit"),
    "sys.exit": (body("sys.exit(0)", top="import sys"), "raises"),
    "sys.exit at the top": ("import sys; sys.exit(0)\n" + RIGHT, "import-error"),
    "os._exit": (body("os._exit(0)", top="import os"), "crashed"),
    "fork": (right_but("os.fork()", top="import os\n"), "forbidden"),
    "fork in a try": (right_but("try: os.fork()\n    except BaseException: pass", top="import os\n"), "forbidden"),
    "subprocess": (body("subprocess.run(['touch', 'OUTSIDE/new'])", top="import subprocess"), "forbidden"),
    "kills its parent": (body("os.kill(os.getppid(), 9)", top="import os"), "forbidden"),
    "socket": (body("socket.socket()", top="import socket"), "forbidden"),
    "writes outside": (body("open('OUTSIDE/new', 'w').write('x')"), "forbidden"),
    "deletes outside": (body("os.remove('OUTSIDE/kept')", top="import os"), "forbidden"),
    "removes a folder": (body("shutil.rmtree('OUTSIDE')", top="import shutil"), "forbidden"),
    "renames outside": (body("os.rename('OUTSIDE/kept', 'mine')", top="import os"), "forbidden"),
    "deletes its own file": (right_but("os.path.exists(__file__) and os.remove(__file__)", top="import os\n"), "ok"),
    "prints a megabyte": (right_but("print('x' * 10**6)"), "ok"),
    "leaves a thread": ("import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n" + RIGHT, "ok"),
    "fills the disk": (body("with open('big', 'wb') as file:", "    while True: file.write(bytes(10**6))"), "raises"),
    "import error": ("import no_such_module\n" + RIGHT, "import-error"),
    "syntax error": ("def box_iou(boxes1, boxes2)\n    return 0\n", "syntax-error"),
    "not UTF-8": (b"def box_iou(boxes1, boxes2):\n    return '\xff\xfe'\n", "syntax-error"),
    "half written": (RIGHT.encode()[:-60] + b"\xe2\x82", "syntax-error"),
    "zeros": (b"x = 1\0\0\0", "syntax-error"),
    "empty": ("", "no-function"),
    "renamed": (RIGHT.replace("def box_iou", "def iou"), "no-function"),
    "KeyboardInterrupt": (body("raise KeyboardInterrupt"), "raises"),
    "recursion": (body("return box_iou(boxes1, boxes2)"), "raises"),
    "own exception": (body("return boxes1 @ boxes2"), "raises"),
    "long exception": (body("raise ValueError('\\x1b[2J\\ud800' + 'x' * 10**6)"), "raises"),
    "returns nothing": (body("boxes1 + 1"), "not-implemented"),
    "returns a list": (body("return [[0.5]]"), "wrong-shape"),
    "writes into its input": (right_but("boxes1 += 0.5"), "mutates-input"),
    "counts its calls": (right_but("calls.append(0); boxes1 = boxes1 + len(calls)", top="calls = []\n"), "nondeterministic"),
    "always float64": (RIGHT.replace("np.result_type(boxes1, boxes2)", "np.float64"), "wrong-dtype"),
}
