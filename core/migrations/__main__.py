"""`python -m core.migrations`: bring the database up to date."""

from __future__ import annotations

import sys

from core import migrations, settings
from core.database import DatabaseUnavailable


def main() -> int:
    """Upgrade to the newest schema. Wrong settings or an absent database answer in one line."""
    try:
        settings.start()
        migrations.upgrade()
    except (settings.SettingsError, DatabaseUnavailable) as error:
        print(f"counterfoil: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
