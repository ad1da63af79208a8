"""What an operator does by hand: `python -m app.ctl create-admin NAME`."""

import argparse
import csv
import getpass
import sys

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select

from .auth import hash_password
from .db import session
from .models import User
from .schemas import NewUser, Username


def password() -> str:
    """Asked for or piped in. Not an argument: those can be read by everybody in `ps`."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("Password: ")
    if first != getpass.getpass("Once more: "):
        sys.exit("The two are not the same")
    return first


def find(db, name: str) -> User | None:
    return db.scalar(select(User).where(User.username == name))


def create_admin(name: str):
    with session() as db:
        user = find(db, name)
        if user is None:
            new = NewUser(username=name, password=password())
            user = User(username=new.username, hashed_password=hash_password(new.password))
            db.add(user)
        user.is_admin = True
        db.commit()
    print(f"{name} is an administrator")


def set_password(name: str):
    with session() as db:
        user = find(db, name) or sys.exit(f"There is no user {name}")
        user.hashed_password = hash_password(NewUser(username=name, password=password()).password)
        db.commit()
    print(f"{name} has a new password")


def import_users(file: str):
    """A csv with the columns username and email. They sign in once `set-password` was done."""
    with open(file, newline="") as rows, session() as db:
        names = TypeAdapter(Username)
        people = {names.validate_python(row["username"]): row for row in csv.DictReader(rows)}
        known = set(db.scalars(select(User.username)))
        new = {name: row for name, row in people.items() if name not in known}
        db.add_all(
            User(username=name, email=row.get("email") or None, hashed_password="!")
            for name, row in new.items()
        )
        db.commit()
    print(f"{len(new)} users added, {len(people) - len(new)} were there")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m app.ctl", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("create-admin", "set-password"):
        verbs.add_parser(verb).add_argument("name", type=str.lower)
    verbs.add_parser("import-users").add_argument("file")
    given = parser.parse_args(arguments)
    try:
        if given.verb == "import-users":
            import_users(given.file)
        else:
            {"create-admin": create_admin, "set-password": set_password}[given.verb](given.name)
    except ValidationError as error:
        # Without the values: one of them is the password.
        wrong = [(*part["loc"], "username")[0] for part in error.errors()]
        sys.exit(f"{', '.join(map(str, wrong))}: {error.errors()[0]['msg']}")


if __name__ == "__main__":
    main()
