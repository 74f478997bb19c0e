from prepare_data.main import main
from shared.errors import run_main

if __name__ == "__main__":
    run_main(main)
