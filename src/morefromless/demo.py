"""x"""
from morefromless.options import DemoOptions
from rich.console import Console
def demo(o: DemoOptions, c: Console) -> bool:
    return True
