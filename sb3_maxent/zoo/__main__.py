"""``python -m sb3_maxent.zoo COMMAND``, see ``command``."""

from sb3_maxent.zoo.command import main

if __name__ == "__main__":
    main()
