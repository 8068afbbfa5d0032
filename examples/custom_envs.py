"""
Makes rl_zoo3's own commands know the algorithms of sb3_maxent.

rl_zoo3 imports a module of this name if it finds one: copy this file into the folder where you start the commands
(or put its folder on PYTHONPATH), then for instance

    python -m rl_zoo3.train --algo discretesac --env CartPole-v1

Without this file: python -m sb3_maxent.zoo train --algo discretesac --env CartPole-v1
"""

import sb3_maxent.zoo

sb3_maxent.zoo.register()
