"""Static types. The array API standard has no static array type yet, so `Array` documents intent."""

from typing import Any, TypeAlias

Array: TypeAlias = Any
"""An array of any library that follows the array API standard."""

Arrays: TypeAlias = tuple[Array, ...]
Namespace: TypeAlias = Any
