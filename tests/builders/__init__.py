"""What tests are made of: plans, results and programs' outputs, built in one place. Test modules import no other."""
